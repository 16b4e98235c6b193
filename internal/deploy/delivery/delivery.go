// Package delivery is what all adapters of ContinuousDelivery share: their
// interface, the work under a lease, errors and progress as people need them.
// An adapter adds what differs.
package delivery

import (
	"cmp"
	"context"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Adapter delivers to a target. One that lacks a method embeds [Unsupported].
type Adapter interface {
	capability.ContinuousDelivery
	// Rollback brings an app back to the release of a version, or to the one
	// before when to is empty, and proves it as a deploy does.
	Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error)
	// Status lists what runs of the app. What cannot be read has an entry that says
	// why, beside the error.
	Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error)
	// Diff lists what a deploy would change, and changes nothing.
	Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error)
	// Remove takes the app away from the target.
	Remove(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error)
}

// Constructor makes an adapter. The flags say what the user of the command line
// chose; they win over the target's own settings, and may be nil.
type Constructor = func(*conn.Flags) capability.Adapter[Adapter]

// Unsupported is an adapter that can do nothing, under its name.
type Unsupported string

func (u Unsupported) cannot(what string) *protocol.Error {
	return protocol.Unsupported("adapter %q does not support %s", cmp.Or(string(u), "without a name"), what)
}

// Rollback is unsupported.
func (u Unsupported) Rollback(_ context.Context, app protocol.AppSpec, _, _ string) (protocol.DeployResult, error) {
	return protocol.DeployResult{}, u.cannot("rollback").WithHint("release the earlier version again: harmony release %s --version …", app.Name)
}

// Status is unsupported.
func (u Unsupported) Status(context.Context, protocol.AppSpec, string) ([]status.Entry, error) {
	return nil, u.cannot("status")
}

// Diff is unsupported.
func (u Unsupported) Diff(context.Context, protocol.AppSpec, string, protocol.ImageRef, protocol.ChartRef) ([]difference.Object, error) {
	return nil, u.cannot("diff").WithHint("its controller may: argocd app diff, flux diff")
}

// Remove is unsupported.
func (u Unsupported) Remove(context.Context, protocol.AppSpec, string) (protocol.DeployResult, error) {
	return protocol.DeployResult{}, u.cannot("removing apps")
}

// Of is the adapter as one that answers for every method.
func Of(name string, c capability.ContinuousDelivery) Adapter {
	if a, ok := c.(Adapter); ok {
		return a
	}
	return struct {
		capability.ContinuousDelivery
		Unsupported
	}{c, Unsupported(name)}
}

// Published fails for an image or a chart without a digest, which only a dry run
// may have.
func Published(env capability.Environment, app protocol.AppSpec, image protocol.ImageRef, chart protocol.ChartRef) error {
	what := ""
	switch {
	case env.DryRun:
		return nil
	case image.Digest == "":
		what = "image " + image.String()
	case chart.Digest == "":
		what = "chart " + chart.Chart
	default:
		return nil
	}
	return protocol.Invalid("%s of %s has no digest", what, app.Name).WithHint("publish it first")
}
