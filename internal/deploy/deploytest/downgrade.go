package deploytest

import (
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// KeepsNewer tests that the adapter leaves a newer version alone where that is
// wanted, also when both are released at once.
func (w *World) KeepsNewer() {
	w.T.Helper()
	w.NoDowngrade, w.Version = true, "1.5.0"
	newer := w.Deploy(protocol.OutcomeInstalled).Image

	w.Version = "1.4.0"
	w.NextImage("1.4.0")
	for _, w.DryRun = range []bool{true, false} {
		w.Fails(time.Minute, protocol.ExitUnsupported, Target+" has "+AppName+" 1.5.0, which is newer than 1.4.0")
	}
	if got := w.Deployment().Spec.Template.Spec.Containers[0].Image; got[len(got)-len(newer):] != newer {
		w.T.Errorf("image %s, want that of 1.5.0, %s", got, newer)
	}
	w.NoDowngrade = false
	w.Deploy(protocol.OutcomeUpgraded)

	w.NoDowngrade = true
	older := w.later("1.6.0")
	latest := w.later("1.7.0")
	failed := make(chan error)
	for _, deploy := range []func() error{older, latest} {
		go func() { failed <- deploy() }()
	}
	for range 2 {
		if err := <-failed; err != nil && protocol.ExitCode(err) != protocol.ExitUnsupported {
			w.T.Error(err)
		}
	}
	w.Deploy(protocol.OutcomeUnchanged) // the last one that was made is 1.7.0
}

// later is a deploy of a version, with an image of its own.
func (w *World) later(version string) func() error {
	w.T.Helper()
	w.Version = version
	w.NextImage(version)
	a, app, image, chart := w.Adapter(), w.Spec(), w.Image, w.Chart()
	return func() error {
		_, err := a.Deploy(w.T.Context(), app, Target, image, chart)
		return err
	}
}
