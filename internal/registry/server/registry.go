// Package server is a small, durable OCI registry for one machine, on the
// distribution project's server and its filesystem storage.
//
// One registry belongs to one state folder. The process that serves it holds a
// lock on a file there for as long as it lives, and the kernel knows who that
// is: no process id is ever read from a file, so none is ever signalled that
// belongs to another program by now.
package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// DefaultAddress is where the registry listens; the topology local names it.
const DefaultAddress = "127.0.0.1:5001"

// Folder is the state folder of a registry, absolute. It holds the storage, the
// log, the lock, and where the registry listens.
type Folder string

// DefaultFolder is harmony/registry in the user's state folder, XDG_STATE_HOME
// or ~/.local/state.
func DefaultFolder() (Folder, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no state folder: %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return Folder(filepath.Join(state, "harmony", "registry")), nil
}

// Log is the file that a registry in the background writes to.
func (f Folder) Log() string { return f.file("log") }

// Data is the storage, in the distribution project's layout.
func (f Folder) Data() string { return f.file("data") }

func (f Folder) lock() string    { return f.file("lock") }
func (f Folder) address() string { return f.file("address") }

func (f Folder) file(name string) string { return filepath.Join(string(f), name) }

func (f Folder) create() error { return os.MkdirAll(string(f), 0o700) }

// listening is the file that says where a registry listens.
type listening struct {
	// PID is the process that wrote it.
	PID int `json:"pid"`
	// Asked is the address as it was given and Address what became of it.
	Asked   string `json:"asked"`
	Address string `json:"address"`
}

func (f Folder) writeListening(l listening) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%d", f.address(), l.PID)
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, f.address())
}

// readListening returns what the process pid wrote; nothing when that was
// another one, or none yet.
func (f Folder) readListening(pid int) (listening, error) {
	data, err := os.ReadFile(f.address())
	if errors.Is(err, fs.ErrNotExist) {
		return listening{}, nil
	}
	if err != nil {
		return listening{}, err
	}
	var l listening
	if json.Unmarshal(data, &l) != nil || l.PID != pid {
		return listening{}, nil
	}
	return l, nil
}

// isLoopback reports whether only this machine can reach an address to listen
// at.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	return isLoopbackHost(host)
}

// isLoopbackHost takes an IPv6 address with brackets or without.
func isLoopbackHost(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(strings.Trim(host, "[]")).IsLoopback()
}
