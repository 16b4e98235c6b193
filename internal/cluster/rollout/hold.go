package rollout

import (
	"context"
	"strings"
	"time"
)

// Hold is why a rollout stands still that its own controller carries out step by
// step: it was told to, and nothing is wrong.
type Hold struct {
	// For is what ends it: [ForApproval], [ForTime] or [ForAnalysis].
	For string
	// Until is when a pause with an end is over.
	Until time.Time
	// Why is what it waits for, in words.
	Why string
}

// What ends a hold.
const (
	ForApproval = "approval"
	ForTime     = "time"
	ForAnalysis = "analysis"
)

// String is what is waited for: is paused at step 1 of 4, until it is resumed.
func (h Hold) String() string {
	switch {
	case h.For == ForTime:
		return Clean(h.Why + ", until " + h.Until.UTC().Format(time.RFC3339))
	case h.For == ForApproval && strings.HasPrefix(h.Why, "is "):
		return Clean(h.Why + ", until it is resumed")
	}
	return Clean(h.Why)
}

// HeldError ends a wait for workloads that are on hold: their rollout goes on once
// somebody resumes it, at a time, or after an analysis.
type HeldError struct {
	// Workloads are those on hold, and Holds why each is.
	Workloads []Workload
	Holds     []Hold
}

func (e *HeldError) Error() string {
	lines := make([]string, len(e.Holds))
	for i, h := range e.Holds {
		lines[i] = e.Workloads[i].String() + " " + h.String()
	}
	return strings.Join(lines, "; ")
}

// held is the end of the wait when all that is not ready is on hold. Before the
// time is over, a hold only ends it that would outlast it, and an analysis does
// not: it may come to its end.
func (w *waiter) held(ctx context.Context, over bool) error {
	end := &HeldError{}
	for _, f := range w.followed {
		if !f.synced() || !f.status.Ready && f.status.Held == nil {
			return nil
		}
		if f.status.Ready {
			continue
		}
		h := *f.status.Held
		key := "held/" + f.Workload.String() + "/" + h.String()
		if _, seen := w.since[key]; !seen {
			w.since[key] = time.Now()
		}
		if !over && (!h.outlasts(ctx) || time.Since(w.since[key]) < pausedGrace) {
			return nil
		}
		end.Workloads, end.Holds = append(end.Workloads, f.Workload), append(end.Holds, h)
	}
	if len(end.Holds) == 0 {
		return nil
	}
	if w.options.Check == nil {
		return end
	}
	if fine, err := w.options.Check(w.begun()); err != nil {
		return err
	} else if !fine && !over {
		return nil
	}
	return end
}

// outlasts reports a hold that the wait cannot see the end of.
func (h Hold) outlasts(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return h.For == ForApproval || h.For == ForTime && limited && h.Until.After(deadline)
}

// begun are the snapshots without the pods that a held rollout still serves from.
func (w *waiter) begun() []Snapshot {
	snapshots := make([]Snapshot, len(w.followed))
	for i, f := range w.followed {
		snapshots[i] = f.snapshot
		if f.status.Ready {
			continue
		}
		snapshots[i].Old = nil
		if f.Kind == kindCanary { // whose new pods are those of its Deployment
			snapshots[i].Current = nil
		}
	}
	return snapshots
}
