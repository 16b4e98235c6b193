package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// pinned is the published chart of an app that pins the images of a chart of others. Its
// version does not tell it: harmony-chart makes the chart again, and looks for it in the
// registry, in a dry run.
func (t Tools) pinned(ctx context.Context, topology protocol.Topology, app protocol.AppSpec) (found protocol.ChartRef, err error) {
	plugin, err := lock.OfSuite(t.Streams.Getenv("PATH"), "chart")
	if err != nil {
		return found, err
	}
	p, err := process.Start(ctx, process.Plugin{Path: plugin.Path, Flags: []string{"--dry-run"}, Registry: true}, process.Observer{
		Event: func(protocol.Event) {},
		Line:  func(line string) { fmt.Fprintln(t.Streams.Err, term.Clean(line)) },
	})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := errors.Join(p.Send(topology), p.Send(app)); err != nil {
		return found, err
	}
	found, err = process.Await[protocol.ChartRef](ctx, p, app.Name)
	if err == nil && !found.Unchanged {
		err = protocol.Invalid("app %q: chart %s %s with the images of harmony.lock is not published", app.Name, found.Chart, found.ChartVersion).
			WithHint("publish it: harmony publish %s", app.Name)
	}
	found.Planned, found.Unchanged = false, false
	return found, err
}
