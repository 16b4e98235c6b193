package devices

import (
	"context"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The stages of a rollout: the rings are opened one after the other; all are open and
// healthy; it was given up, and the rings go back.
const (
	Rolling = "rolling"
	Done    = "done"
	Aborted = "aborted"
)

// Rollout is what is kept of a state's way through the rings, beside the rings' tags. It
// is an artifact of its own under [TagRollout], of which only the annotations count: a run
// that was killed is continued by the next one, on any machine.
type Rollout struct {
	// Digest is that of the state, and Before that of the state which the rings go back
	// to; empty when there was none.
	Digest, Before string
	// Stage is one of the words above.
	Stage string
	// Ring is the tag of the ring that has been healthy since Since.
	Ring  string
	Since time.Time
	// Why says what ended an aborted rollout.
	Why string
}

// Is reports the rollout of a state in a stage.
func (r Rollout) Is(stage, digest string) bool { return r.Stage == stage && r.Digest == digest }

// Rollout reads the last rollout; the zero value when there was none.
func (p Place) Rollout(ctx context.Context) (Rollout, error) {
	found, err := p.State.Get(ctx, TagRollout)
	if err != nil {
		return Rollout{}, err
	}
	notes := found.Annotations
	r := Rollout{
		Digest: notes[annotationRevision], Before: notes[marks.Before], Stage: notes[annotationState],
		Ring: notes[marks.Ring], Why: term.Excerpt(notes[annotationMessage], maxMessage),
	}
	r.Since, _ = time.Parse(time.RFC3339Nano, notes[marks.Since]) // none: it has just become healthy
	return r, nil
}

// SetRollout writes it.
func (p Place) SetRollout(ctx context.Context, r Rollout) error {
	notes := map[string]string{annotationRevision: r.Digest, annotationState: r.Stage, marks.Before: r.Before, annotationMessage: r.Why}
	if !r.Since.IsZero() {
		notes[marks.Ring], notes[marks.Since] = r.Ring, r.Since.UTC().Format(time.RFC3339Nano)
	}
	return p.State.Push(ctx, TagRollout, annotated(notes))
}

// Store puts a report of a device where harmony looks for it. It returns when the registry
// has it.
func (r Repository) Store(ctx context.Context, said protocol.DeviceReport, revision, labels string) error {
	notes := map[string]string{
		annotationRevision: revision, annotationState: string(said.State), annotationCreated: said.Time, annotationMessage: said.Message,
	}
	if labels != "" {
		notes[annotationLabels] = labels
	}
	return r.Push(ctx, said.Device, annotated(notes))
}

// annotated is an artifact that has nothing but annotations.
func annotated(notes map[string]string) v1.Image {
	return mutate.Annotations(mutate.MediaType(empty.Image, types.OCIManifestSchema1), notes).(v1.Image)
}
