package rollout

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// recorded reads a case with a Rollout or a Canary as the API server gave it. The object
// comes first; what follows is of Kubernetes.
func recorded(t *testing.T, name string) Snapshot {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "stepwise", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var w Workload
	var objects []any
	for _, document := range bytes.Split(data, []byte("\n---\n")) {
		content := map[string]any{}
		if err := yaml.Unmarshal(document, &content); err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: content}
		if len(objects) == 0 {
			w = Workload{Kind: u.GetKind(), Name: u.GetName(), Namespace: "ns", Resource: nothing{}, Selector: labels.Everything(), target: targetOf(u)}
			objects = append(objects, u)
			continue
		}
		object := map[string]any{"Deployment": &appsv1.Deployment{}, "ReplicaSet": &appsv1.ReplicaSet{}, "Pod": &corev1.Pod{}}[u.GetKind()]
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, object); err != nil {
			t.Fatalf("%s: %s %s: %v", name, u.GetKind(), u.GetName(), err)
		}
		objects = append(objects, object)
	}
	s, err := assemble(w, objects)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatusOfRolloutsAndCanaries(t *testing.T) {
	for _, c := range []struct {
		name         string
		ready        bool
		current, old int    // pods
		held         string // for what
		message      string
		problem      string // what the first suspect says
	}{
		{name: "rollout-healthy", ready: true, current: 2, message: "ready"},
		{name: "rollout-not-observed", current: 2, message: "waiting for Argo Rollouts to take the change up"},
		{name: "rollout-paused", current: 1, old: 1, held: ForApproval, message: "is paused at step 2 of 3, until it is resumed"},
		{name: "rollout-paused-for", current: 1, old: 1, held: ForTime, message: "is paused at step 2 of 3, until 2026-11-28T13:10:00Z"},
		{name: "rollout-paused-by-spec", current: 1, old: 1, held: ForApproval, message: "is paused by spec.paused, until it is resumed"},
		{name: "rollout-paused-crashes", current: 1, old: 1, message: "CrashLoopBackOff", problem: "rollout/app cannot become ready: pod app-new, container app, CrashLoopBackOff"},
		{name: "rollout-analysis", current: 1, old: 1, held: ForAnalysis, message: "waits for AnalysisRun app-2 at step 2 of 3"},
		{name: "rollout-inconclusive", current: 1, old: 1, held: ForApproval, message: "is paused, for its analysis was inconclusive at step 2 of 3, until it is resumed"},
		{name: "rollout-aborted", current: 1, old: 1, message: "aborted: RolloutAborted: ",
			problem: "rollout/app cannot become ready: aborted: RolloutAborted: Rollout aborted update to revision 2: metric failed; what served before goes on: 1 pods run r/app@sha256:old"},
		{name: "rollout-deadline", current: 1, old: 1, message: "degraded: ProgressDeadlineExceeded", problem: "rollout/app cannot become ready: degraded: ProgressDeadlineExceeded: "},
		{name: "rollout-preview", current: 1, old: 1, held: ForApproval, message: "is paused before its preview becomes active, until it is resumed"},
		{name: "rollout-kept", ready: true, current: 1, message: "ready"},
		{name: "rollout-ref", ready: true, current: 1, message: "ready"},
		{name: "rollout-ref-not-observed", current: 1, message: "waiting for Argo Rollouts to take up the change of deployment/app"},
		{name: "canary-new", message: "waiting for Flagger to take it up"},
		{name: "canary-initializing", current: 1, message: "waiting for Flagger: initializing"},
		{name: "canary-succeeded", ready: true, current: 1, message: "ready"},
		{name: "canary-stale", current: 1, message: "waiting for Flagger to take up the change of deployment/app"},
		{name: "canary-progressing", current: 1, held: ForAnalysis, message: "is analysed by Flagger: iteration 3 of 10, 1 failed checks of at most 5"},
		{name: "canary-waiting", current: 1, held: ForApproval, message: "waits for its confirm-rollout webhook"},
		{name: "canary-waiting-promotion", current: 1, held: ForApproval, message: "waits for its confirm-promotion webhook"},
		{name: "canary-promoting", current: 1, held: ForAnalysis, message: "is being promoted by Flagger"},
		{name: "canary-finalising", current: 1, held: ForAnalysis, message: "is being promoted by Flagger"},
		{name: "canary-failed", current: 1, message: "failed: Canary analysis failed",
			problem: "canary/app cannot become ready: failed: Canary analysis failed, Deployment scaled to zero; what served before goes on: 1 pods run r/app@sha256:old"},
		{name: "canary-failed-before", current: 1, message: "waiting for Flagger to take up the change of deployment/app"},
		{name: "canary-gone-back", ready: true, current: 1, message: "ready"},
		{name: "canary-suspended", current: 1, held: ForApproval, message: "is suspended by spec.suspend, until it is resumed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := recorded(t, c.name)
			st, err := StatusOf(s)
			if err != nil {
				t.Fatal(err)
			}
			if st.Ready != c.ready || len(s.Current) != c.current || len(s.Old) != c.old || !strings.Contains(st.Message, c.message) {
				t.Errorf("ready %t, %d and %d pods, %q, want %t, %d and %d, %q", st.Ready, len(s.Current), len(s.Old), st.Message, c.ready, c.current, c.old, c.message)
			}
			if held := ""; st.Held != nil && st.Held.For != c.held || st.Held == nil && held != c.held {
				t.Errorf("held %+v, want for %q", st.Held, c.held)
			}
			if (len(st.Suspects) > 0) != (c.problem != "") || c.problem != "" && !strings.Contains(st.Suspects[0].String(), c.problem) {
				t.Errorf("suspects %v, want %q", st.Suspects, c.problem)
			}
		})
	}
}

// A wait ends at a hold that it cannot see the end of, at others when its time is over,
// and never while something else is not ready.
func TestHeld(t *testing.T) {
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	approval := &Hold{For: ForApproval, Why: "is paused"}
	long, short := &Hold{For: ForTime, Why: "is paused", Until: time.Now().Add(time.Hour)}, &Hold{For: ForTime, Why: "is paused", Until: time.Now().Add(time.Second)}
	analysis := &Hold{For: ForAnalysis, Why: "waits for an analysis"}
	for _, c := range []struct {
		name       string
		statuses   []Status
		now, later bool
	}{
		{"nothing", []Status{{Ready: true}}, false, false},
		{"for approval", []Status{{Held: approval}, {Ready: true}}, true, true},
		{"for longer than the wait", []Status{{Held: long}}, true, true},
		{"for a moment", []Status{{Held: short}}, false, true},
		{"for an analysis", []Status{{Held: analysis}}, false, true},
		{"one of them for an analysis", []Status{{Held: approval}, {Held: analysis}}, false, true},
		{"with another that is not ready", []Status{{Held: approval}, {}}, false, false},
	} {
		w := &waiter{since: map[string]time.Time{}}
		for i, status := range c.statuses {
			f := &followed{Workload: Workload{Kind: kindRollout, Name: string('a' + rune(i))}, status: status}
			w.followed = append(w.followed, f)
			if status.Held != nil {
				w.since["held/"+f.Workload.String()+"/"+status.Held.String()] = time.Now().Add(-pausedGrace)
			}
		}
		var held *HeldError
		if got := errors.As(w.held(soon, false), &held); got != c.now {
			t.Errorf("%s: ends the wait: %t, want %t", c.name, got, c.now)
		}
		if got := errors.As(w.held(soon, true), &held); got != c.later {
			t.Errorf("%s: is the end when the time is over: %t, want %t", c.name, got, c.later)
		}
	}
}

func TestProgressiveKinds(t *testing.T) {
	object := func(api, kind string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": api, "kind": kind}}
	}
	for _, c := range []struct {
		object *unstructured.Unstructured
		want   bool
	}{
		{object("argoproj.io/v1alpha1", "Rollout"), true}, {object("flagger.app/v1beta1", "Canary"), true},
		{object("argoproj.io/v1alpha1", "AnalysisTemplate"), false}, {object("example.com/v1", "Rollout"), false},
	} {
		kind := c.object.GroupVersionKind()
		if isProgressive(kind) != c.want || (Policies(nil).of(kind) == PolicyIgnore) != c.want {
			t.Errorf("%s: progressive %t, policy %s", kind, isProgressive(kind), Policies(nil).of(kind))
		}
	}
}
