package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

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
