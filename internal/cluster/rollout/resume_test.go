package rollout

import (
	"context"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/pkg/protocol"
)

// patched notes the patches of an object.
type patched struct {
	nothing
	sent *[]string
}

func (p patched) Patch(_ context.Context, _ string, _ types.PatchType, data []byte, _ metav1.PatchOptions, sub ...string) (*unstructured.Unstructured, error) {
	*p.sent = append(*p.sent, strings.Join(append(sub, string(data)), " "))
	return nil, nil
}

// The patches are those of kubectl argo rollouts promote.
func TestResume(t *testing.T) {
	for _, c := range []struct {
		name string
		full bool
		sent []string
		says string
		code int
	}{
		{name: "rollout-paused", sent: []string{`status {"status":{"pauseConditions":null}}`}, says: "resumed; it was paused at step 2 of 3"},
		{name: "rollout-paused", full: true, sent: []string{`status {"status":{"promoteFull":true}}`}, says: "promoted in full"},
		{name: "rollout-paused-by-spec", sent: []string{`{"spec":{"paused":false}}`}, says: "resumed; it was paused by spec.paused"},
		{name: "rollout-paused-by-spec", full: true, sent: []string{`status {"status":{"promoteFull":true}}`, `{"spec":{"paused":false}}`}, says: "promoted in full"},
		{name: "rollout-inconclusive", says: "resumed; it was paused, for its analysis was inconclusive at step 2 of 3",
			sent: []string{`status {"status":{"controllerPause":false,"currentStepIndex":2,"pauseConditions":null}}`}},
		{name: "rollout-analysis"},
		{name: "rollout-analysis", full: true, sent: []string{`status {"status":{"promoteFull":true}}`}, says: "promoted in full"},
		{name: "rollout-healthy"},
		{name: "rollout-healthy", full: true},
		{name: "rollout-aborted", full: true, code: protocol.ExitUnsupported},
		{name: "canary-waiting", code: protocol.ExitUnsupported},
		{name: "canary-suspended", sent: []string{`{"spec":{"suspend":false}}`}, says: "resumed; it was suspended by spec.suspend"},
		{name: "canary-succeeded"},
	} {
		var sent []string
		s := recorded(t, c.name)
		s.Resource = patched{sent: &sent}
		says, err := Resume(t.Context(), s, c.full)
		if says != c.says || protocol.ExitCode(err) != c.code || !slices.Equal(sent, c.sent) {
			t.Errorf("%s, full %t: %q, %v, sent %q, want %q, %d, %q", c.name, c.full, says, err, sent, c.says, c.code, c.sent)
		}
	}
}

// Promote has a Rollout skip its steps once.
func TestPromote(t *testing.T) {
	for name, want := range map[string]int{
		"rollout-paused": 1, "rollout-analysis": 1, "rollout-not-observed": 0, "rollout-aborted": 0, "rollout-healthy": 0, "canary-waiting": 0,
	} {
		var sent []string
		s := recorded(t, name)
		s.Resource = patched{sent: &sent}
		st, err := StatusOf(s)
		f := &followed{Workload: s.Workload, snapshot: s, status: st}
		for range 2 {
			w := &waiter{options: Options{Promote: true}}
			if err := w.promote(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil || len(sent) != want {
			t.Errorf("%s: sent %q, %v, want %d", name, sent, err, want)
		}
	}
}
