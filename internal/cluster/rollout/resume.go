package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/pkg/protocol"
)

// manager is the name under which harmony changes a Rollout.
const manager = "harmony"

// Resume lets a Rollout go on that is on hold, as kubectl argo rollouts promote
// does: with its next step, or to its end without any further step, pause and
// analysis when full. It says what it did; "" when there was nothing to do.
//
// A Canary of Flagger has no such switch, unless it is suspended: what it waits for is
// a webhook or its analysis. That is an error of status protocol.ExitUnsupported.
func Resume(ctx context.Context, s Snapshot, full bool) (string, error) {
	if s.Object == nil {
		return "", nil
	}
	hold, paused := Hold{}, false
	suspended, _, _ := unstructured.NestedBool(s.Object.Object, "spec", "suspend")
	if s.Kind == kindRollout {
		hold, paused = s.pause()
	} else if suspended {
		return "resumed; it was suspended by spec.suspend", s.merge(ctx, map[string]any{"spec": map[string]any{"suspend": false}})
	} else if st := progressiveStatus(s); st.Held != nil {
		return "", protocol.Unsupported("%s %s: only that lets it go on", s.Workload, st.Held).
			WithHint("the webhook is in spec.analysis.webhooks of the Canary; harmony cannot open it")
	}
	promoted := statusText(s.Object, "currentPodHash") == statusText(s.Object, "stableRS")
	switch {
	case s.Kind != kindRollout || !paused && (promoted || !full):
		return "", nil
	case s.aborted():
		return "", protocol.Unsupported("%s was aborted: it does not go on", s.Workload).WithHint("release the version again, or another one")
	}
	if err := s.patch(ctx, full && !promoted); err != nil {
		return "", fmt.Errorf("resume %s: %w", s.Workload, err)
	}
	if full {
		return "promoted in full", nil
	}
	return "resumed; it " + strings.Replace(hold.Why, "is paused", "was paused", 1), nil
}

// patch makes the changes of a promotion: of the status, and of spec.paused.
func (s Snapshot) patch(ctx context.Context, full bool) error {
	status := map[string]any{"pauseConditions": nil}
	if full {
		status = map[string]any{"promoteFull": true}
	} else if hold, _ := s.pause(); strings.Contains(hold.Why, "inconclusive") {
		// The step is over, and would be inconclusive again.
		_, index := s.steps()
		status["controllerPause"], status["currentStepIndex"] = false, index+1
	}
	if pauses, _, _ := unstructured.NestedSlice(s.Object.Object, "status", "pauseConditions"); full || len(pauses) > 0 {
		if err := s.merge(ctx, map[string]any{"status": status}, "status"); err != nil {
			return err
		}
	}
	if paused, _, _ := unstructured.NestedBool(s.Object.Object, "spec", "paused"); paused {
		return s.merge(ctx, map[string]any{"spec": map[string]any{"paused": false}})
	}
	return nil
}

func (s Snapshot) merge(ctx context.Context, change map[string]any, subresources ...string) error {
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = s.Resource.Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager}, subresources...)
	return err
}

// promote has a Rollout skip its steps, with [Options].Promote, once its controller
// has taken the change up. A revision is promoted once.
func (w *waiter) promote(ctx context.Context, f *followed) error {
	if !w.options.Promote || w.options.FailOnly || f.Kind != kindRollout || !f.status.taken || f.snapshot.aborted() {
		return nil
	}
	revision := statusText(f.snapshot.Object, "currentPodHash")
	if revision == f.promoted || revision == statusText(f.snapshot.Object, "stableRS") {
		return nil
	}
	f.promoted = revision
	_, err := Resume(ctx, f.snapshot, true)
	if apierrors.IsForbidden(err) {
		return nil // it goes step by step then
	}
	return err
}
