package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Ask is what the flags of a command line say about the project.
type Ask struct {
	// File is the configuration; found from the current folder when empty.
	File string
	// Topology names one; the environment decides when it is empty.
	Topology string
	// Version is that of every app; git describes each one's when it is empty.
	Version string
	// Target is where the apps are about to go, or "".
	Target string
}

// Project reads the project's configuration.
type Project interface {
	// Apps returns the topology and the apps of these names or globs, validated
	// and with the version of this release.
	Apps(ctx context.Context, ask Ask, patterns []string) (protocol.Topology, []protocol.AppSpec, error)
	// Topology returns the configured topology, for a stream without one.
	Topology(ctx context.Context, ask Ask) (protocol.Topology, error)
	// Names lists the project's apps, for completion.
	Names(ask Ask) ([]string, error)
}

// installed is the project as the harmony on PATH reads it: a plugin then needs
// no reader of its own, and follows every release of harmony.
type installed struct{}

func (installed) Apps(ctx context.Context, ask Ask, patterns []string) (topology protocol.Topology, apps []protocol.AppSpec, err error) {
	args := append([]string{"plan", "--output=documents"}, patterns...)
	for _, flag := range [][2]string{{"file", ask.File}, {"topology", ask.Topology}, {"version", ask.Version}, {"target", ask.Target}} {
		if flag[1] != "" {
			args = append(args, "--"+flag[0]+"="+flag[1])
		}
	}
	out, err := process.Output(ctx, process.Command{Args: append([]string{"harmony"}, args...)})
	if err != nil {
		return topology, nil, refused(err)
	}
	for reader := protocol.NewReader(bytes.NewReader(out)); ; {
		d, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return topology, apps, nil
		}
		var app protocol.AppSpec
		switch {
		case err != nil:
		case d.Kind == protocol.KindTopology:
			topology, err = protocol.Decode[protocol.Topology](d)
		case d.Kind == protocol.KindAppSpec:
			app, err = protocol.Decode[protocol.AppSpec](d)
			apps = append(apps, app)
		}
		if err != nil {
			return topology, nil, protocol.Invalid("harmony plan: %w", err)
		}
	}
}

// refused is what harmony said, with its status.
func refused(err error) error {
	failure, told := errors.AsType[*process.Error](err)
	exit, ended := errors.AsType[*exec.ExitError](err)
	if !told || !ended || !exit.Exited() {
		return protocol.Unsupported("read the project: %w", err).
			WithHint("install harmony and put its folder on PATH, or run the plugin in a pipe after another stage")
	}
	text, hint, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(failure.Output)), "error: "), "\nhint: ")
	return &protocol.Error{Code: exit.ExitCode(), Message: text, Hint: hint}
}

func (p installed) Topology(ctx context.Context, ask Ask) (protocol.Topology, error) {
	topology, _, err := p.Apps(ctx, ask, []string{"*"})
	return topology, err
}

func (p installed) Names(ask Ask) ([]string, error) {
	_, apps, err := p.Apps(context.Background(), ask, []string{"*"})
	names := make([]string, len(apps))
	for i, app := range apps {
		names[i] = app.Name
	}
	return names, err
}
