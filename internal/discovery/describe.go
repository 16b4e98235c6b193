package discovery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// describeDeadline bounds a plugin's answer to describe.
const describeDeadline = 5 * time.Second

// Describer asks plugins what they are, and remembers the answers by path,
// inode, size and modification time.
type Describer struct {
	// Cache is the folder for answers; none are kept when it is empty.
	Cache string
}

// answer is what the cache holds.
type answer struct {
	Path     string          `json:"path"`
	Inode    uint64          `json:"inode"`
	Size     int64           `json:"size"`
	Modified time.Time       `json:"modified"`
	Document json.RawMessage `json:"document"`
}

// Describe runs the plugin's describe, or takes its answer from the cache. A
// plugin that does not answer as it should is an error of status
// protocol.ExitUnsupported.
func (d Describer) Describe(ctx context.Context, p Plugin) (protocol.PluginInfo, error) {
	target, err := filepath.EvalSymlinks(p.Path)
	if err != nil {
		return protocol.PluginInfo{}, err
	}
	info, err := os.Stat(target)
	if err != nil {
		return protocol.PluginInfo{}, err
	}
	inode, err := inodeOf(info)
	if err != nil {
		return protocol.PluginInfo{}, err
	}
	now := answer{Path: target, Inode: inode, Size: info.Size(), Modified: info.ModTime()}
	if line, ok := d.load(now); ok {
		if described, err := decodeInfo(line); err == nil {
			return described, nil
		}
	}
	line, err := ask(ctx, p.Path)
	if err != nil {
		return protocol.PluginInfo{}, protocol.Unsupported("plugin %s: %w", p.Path, err)
	}
	described, err := decodeInfo(line)
	if err != nil {
		return protocol.PluginInfo{}, protocol.Unsupported("plugin %s answered describe with something else than a PluginInfo: %w", p.Path, err)
	}
	now.Document = line
	d.store(now)
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
	cmd := exec.CommandContext(ctx, path, "describe")
	cmd.WaitDelay = time.Second
	out := &limited{limit: protocol.MaxDocument}
	cmd.Stdout = out
	err := cmd.Run()
	if out.over {
		return nil, errTooMuch
	}
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("no answer to describe within %s", describeDeadline)
		}
		return nil, fmt.Errorf("describe: %w", err)
	}
	return bytes.TrimSpace(out.buffer.Bytes()), nil
}

// limited is a buffer that refuses to grow over its limit. The buffer is not
// embedded: io.Copy would find its ReadFrom, which knows no limit.
type limited struct {
	buffer bytes.Buffer
	limit  int
	over   bool
}

var errTooMuch = fmt.Errorf("the answer to describe has more than %d bytes", protocol.MaxDocument)

func (l *limited) Write(p []byte) (int, error) {
	if l.over = l.over || l.buffer.Len()+len(p) > l.limit; l.over {
		return 0, errTooMuch
	}
	return l.buffer.Write(p)
}

func (d Describer) file(path string) string {
	return filepath.Join(d.Cache, fmt.Sprintf("%x.json", sha256.Sum256([]byte(path))))
}

func (d Describer) load(now answer) (json.RawMessage, bool) {
	if d.Cache == "" {
		return nil, false
	}
	data, err := os.ReadFile(d.file(now.Path))
	if err != nil {
		return nil, false
	}
	var kept answer
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, false
	}
	same := kept.Path == now.Path && kept.Inode == now.Inode && kept.Size == now.Size && kept.Modified.Equal(now.Modified)
	return kept.Document, same
}

// store keeps an answer. A cache that cannot be written, as in a read-only
// home, only means that the plugin is asked again.
func (d Describer) store(a answer) {
	data, err := json.Marshal(a)
	if d.Cache == "" || err != nil || os.MkdirAll(d.Cache, 0o700) != nil {
		return
	}
	file, err := os.CreateTemp(d.Cache, "answer-*")
	if err != nil {
		return
	}
	_, err = file.Write(data)
	if errors.Join(err, file.Close()) != nil || os.Rename(file.Name(), d.file(a.Path)) != nil {
		os.Remove(file.Name())
	}
}
