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

// describeDeadline bounds a plugin's answer to describe, and describeGrace how
// long it may then take to end.
const (
	describeDeadline = 5 * time.Second
	describeGrace    = time.Second
)

// Describer asks plugins what they are, and remembers the answers while the file
// stays the same.
type Describer struct {
	// Cache is the folder for answers; none are kept when it is empty.
	Cache string
}

// Describe runs the plugin's describe, or takes its answer from the cache. A
// plugin that does not answer as it should is an error of status
// protocol.ExitUnsupported.
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
		return protocol.PluginInfo{}, protocol.Unsupported("plugin %s answered describe with something other than a PluginInfo: %w", p.Path, err)
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

// Identify looks at a file; Path is without links.
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
		return File{}, fmt.Errorf("%s: the system does not say which file it is", target)
	}
	return File{
		Path: target, Device: uint64(stat.Dev), Inode: stat.Ino, Size: info.Size(), //nolint:gosec // a number of other width on other systems
		Modified: info.ModTime().UnixNano(), Changed: changeTime(stat),
	}, nil
}

// racy is how old the last change of a file has to be for it to be remembered: one
// that is changed again within the same tick of the clock looks the same. File
// systems that keep no fractions of a second tick once or every other second.
func (f File) racy(now time.Time) bool {
	tick := 100 * time.Millisecond
	if f.Changed%int64(time.Second) == 0 {
		tick = 2 * time.Second
	}
	return now.Sub(time.Unix(0, f.Changed)) < tick
}

// Memory keeps what was found out about files.
type Memory struct {
	// Folder holds it; nothing is kept when it is empty.
	Folder string
}

// remembered is what the folder holds.
type remembered struct {
	File
	Document json.RawMessage `json:"document"`
}

func (m Memory) path(f File) string {
	return filepath.Join(m.Folder, fmt.Sprintf("%x.json", sha256.Sum256([]byte(f.Path))))
}

// Recall returns what is kept of a file that is still the same. What others could
// have written is not believed.
func (m Memory) Recall(f File) (json.RawMessage, bool) {
	if m.Folder == "" {
		return nil, false
	}
	if owner.Check(m.path(f)) != nil {
		return nil, false
	}
	data, err := os.ReadFile(m.path(f))
	if err != nil {
		return nil, false
	}
	var kept remembered
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, false
	}
	return kept.Document, kept.File == f
}

// Keep keeps what was found out about a file that was identified before it was
// read. A folder that cannot be written, as in a read-only home, only means that it
// is found out again, and so does a file that was changed just now.
func (m Memory) Keep(f File, document json.RawMessage) {
	if f.racy(time.Now()) {
		return
	}
	data, err := json.Marshal(remembered{f, document})
	if m.Folder != "" && err == nil {
		_ = atomicfile.Write(m.path(f), data, 0o600)
	}
}
