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
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
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
	return atomicfile.Write(f.address(), data, 0o600)
}

// readListening returns what the process pid wrote, if anything yet.
func (f Folder) readListening(pid int) (listening, error) {
	data, err := os.ReadFile(f.address())
	if errors.Is(err, fs.ErrNotExist) {
		return listening{}, nil
	}
	var l listening
	if err != nil || json.Unmarshal(data, &l) != nil || l.PID != pid {
		return listening{}, err
	}
	return l, nil
}

// isLoopback reports whether only this machine can reach an address, with a port or
// without.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return strings.EqualFold(host, "localhost") || net.ParseIP(strings.Trim(host, "[]")).IsLoopback()
}

// A POSIX record lock goes with its process, however that ends, and shows who
// holds it. It is not for several registries within one process: there it
// excludes nobody, and closing the file anywhere gives it up.

// acquire takes the folder's lock for this process; held is false when another
// process has it. The file must stay open.
func (f Folder) acquire() (file *os.File, held bool, err error) {
	file, err = os.OpenFile(f.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart})
	if err == nil {
		return file, true, nil
	}
	file.Close()
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return nil, false, nil
	}
	return nil, false, fmt.Errorf("lock %s: %w", f.lock(), err)
}

// holder is the process that holds the lock; 0 when nobody does.
func (f Folder) holder() (int, error) {
	file, err := os.OpenFile(f.lock(), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("lock %s: %w", f.lock(), err)
	}
	switch {
	case lock.Type == syscall.F_UNLCK:
		return 0, nil
	case lock.Pid <= 0:
		return 0, fmt.Errorf("lock %s is held by a process that cannot be seen from here, such as one of another container", f.lock())
	}
	return int(lock.Pid), nil
}
