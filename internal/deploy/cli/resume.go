package cli

import (
	"context"
	"fmt"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// resumer is an adapter that can let rollouts go on that their own controllers carry
// out step by step.
type resumer interface {
	ResumeSteps(ctx context.Context, app protocol.AppSpec, target string, full bool) ([]string, error)
}

// resumeSteps lets the app's Rollouts on a target go on, and prints what it did.
func (t Tools) resumeSteps(ctx context.Context, topology protocol.Topology, app protocol.AppSpec, target string, full bool) error {
	console, progress := t.console()
	defer console.Close()
	adapter, err := t.open(ctx, topology, adapterOf(topology), capability.Environment{Progress: progress(target)})
	if err != nil {
		return err
	}
	r, ok := adapter.(resumer)
	if !ok {
		return protocol.Unsupported("adapter %q of topology %q cannot resume a rollout", adapterOf(topology), topology.Name)
	}
	done, err := r.ResumeSteps(ctx, app, target, full)
	for _, line := range done {
		if _, err := fmt.Fprintln(t.Streams.Out, line); err != nil {
			return err
		}
	}
	return err
}
