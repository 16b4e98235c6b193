package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
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
	if err != nil {
		return protocol.PluginInfo{}, protocol.Unsupported("plugin %s: %w", p.Path, err)
	}
	described, err := decodeInfo(line)
	if err != nil {
		return protocol.PluginInfo{}, protocol.Unsupported("plugin %s answered describe with something else than a PluginInfo: %w", p.Path, err)
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
