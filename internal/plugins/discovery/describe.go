package discovery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/cli/owner"
	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// describeDeadline limits a plugin's answer to describe, and describeGrace the time
// that it may then take to exit.
const (
	describeDeadline = 5 * time.Second
	describeGrace    = time.Second
)

// Describer runs plugins with describe, and caches the answer while the file stays
// the same.
type Describer struct {
	// Cache is the folder for answers; nothing is cached when it is empty.
	Cache string
}

// Describe returns the plugin's answer to describe, from the cache if possible. An
// invalid answer is an error of status protocol.ExitUnsupported.
func (d Describer) Describe(ctx context.Context, p Plugin) (protocol.PluginInfo, error) {
	file, err := Identify(p.Path)
	if err != nil {
		return protocol.PluginInfo{}, err
	}
	memory := Memory{Folder: d.Cache}
	if line, ok := memory.Recall(file); ok {
		if described, err := decodeInfo(line); err == nil {
			return described, nil
		}
	}
	line, err := ask(ctx, p.Path)
	if ctx.Err() != nil {
		return protocol.PluginInfo{}, context.Cause(ctx)
	}
	if err != nil {
		return protocol.PluginInfo{}, protocol.Unsupported("plugin %s: %w", p.Path, err)
	}
	described, err := decodeInfo(line)
	if err != nil {
		return protocol.PluginInfo{}, protocol.Unsupported("plugin %s did not answer describe with a PluginInfo: %w", p.Path, err)
	}
	memory.Keep(file, line)
	return described, nil
}

func decodeInfo(line []byte) (protocol.PluginInfo, error) {
	document, err := protocol.Parse(line)
	if err != nil {
		return protocol.PluginInfo{}, err
	}
	return protocol.Decode[protocol.PluginInfo](document)
}

// ask runs the plugin and returns the one line that it prints.
func ask(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, describeDeadline)
	defer cancel()
	out := &process.Buffer{Limit: protocol.MaxDocument}
	err := process.Run(ctx, process.Command{Args: []string{path, "describe"}, Stdout: out, Grace: describeGrace})
	switch {
	case out.Over:
		return nil, fmt.Errorf("the answer to describe has more than %d bytes", out.Limit)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("no answer to describe within %s", describeDeadline)
	case err != nil:
		return nil, fmt.Errorf("describe: %w", err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// File identifies a file and its content, as far as possible without reading it.
// What has the same values was not changed: nobody but root can set Changed.
type File struct {
	Path   string `json:"path"`
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Size   int64  `json:"size"`
	// Modified and Changed are when its content, and when anything of it, was changed
	// last, in nanoseconds.
	Modified int64 `json:"modified"`
	Changed  int64 `json:"changed"`
}

// Identify identifies a file; Path has no links.
func Identify(path string) (File, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return File{}, err
	}
	info, err := os.Stat(target)
	if err != nil {
		return File{}, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return File{}, fmt.Errorf("%s: the system does not identify the file", target)
	}
	return File{
		Path: target, Device: uint64(stat.Dev), Inode: stat.Ino, Size: info.Size(), //nolint:gosec // a number of other width on other systems
		Modified: info.ModTime().UnixNano(), Changed: changeTime(stat),
	}, nil
}

// racy reports whether a file was changed too recently to be remembered: another
// change within the same tick of the clock would go unnoticed. File systems without
// fractions of a second tick every second or two.
func (f File) racy(now time.Time) bool {
	tick := 100 * time.Millisecond
	if f.Changed%int64(time.Second) == 0 {
		tick = 2 * time.Second
	}
	return now.Sub(time.Unix(0, f.Changed)) < tick
}

// Memory caches facts about files.
type Memory struct {
	// Folder is that of the cache; nothing is kept when it is empty.
	Folder string
}

// remembered is a file of that folder.
type remembered struct {
	File
	Document json.RawMessage `json:"document"`
}

func (m Memory) path(f File) string {
	return filepath.Join(m.Folder, fmt.Sprintf("%x.json", sha256.Sum256([]byte(f.Path))))
}

// Recall returns the fact that is kept about an unchanged file. A cache file that
// others could have written is not trusted.
func (m Memory) Recall(f File) (json.RawMessage, bool) {
	if m.Folder == "" || owner.Check(m.path(f)) != nil {
		return nil, false
	}
	data, err := os.ReadFile(m.path(f))
	var kept remembered
	if err != nil || json.Unmarshal(data, &kept) != nil {
		return nil, false
	}
	return kept.Document, kept.File == f
}

// Keep stores a fact about a file that was identified before it was read. If the
// folder cannot be written, as in a read-only home, or the file has just changed, the
// fact is determined again next time.
func (m Memory) Keep(f File, document json.RawMessage) {
	if f.racy(time.Now()) {
		return
	}
	data, err := json.Marshal(remembered{f, document})
	if m.Folder != "" && err == nil {
		_ = atomicfile.Write(m.path(f), data, 0o600)
	}
}

// CheckProtocol refuses a plugin, named as in a message, that has no protocol version
// in common with harmony.
func CheckProtocol(plugin string, theirs protocol.ProtocolRange) error {
	ours := protocol.ProtocolRange{Min: protocol.ProtocolMin, Max: protocol.ProtocolMax}
	if _, ok := ours.Common(theirs); !ok {
		return protocol.Unsupported("%s speaks protocol %d to %d, harmony %d to %d: no version in common",
			plugin, theirs.Min, theirs.Max, ours.Min, ours.Max)
	}
	return nil
}
