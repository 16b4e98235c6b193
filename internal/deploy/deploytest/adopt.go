package deploytest

import (
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Pods are the UIDs of the app's pods.
func (w *World) Pods() []string {
	w.T.Helper()
	list, err := w.Cluster.Client.CoreV1().Pods(w.Namespace).List(w.T.Context(), metav1.ListOptions{LabelSelector: "app=" + AppName})
	if err != nil {
		w.T.Fatal(err)
	}
	var pods []string
	for _, pod := range list.Items {
		pods = append(pods, string(pod.UID))
	}
	slices.Sort(pods)
	return pods
}

// CheckAdopted takes over what runs of the app, and gives it back. Without being
// asked to, a deploy refuses it and changes nothing; what is taken over has its
// pods as before, and is an app like any other from then on. by is who managed it,
// and code the status of what is refused.
func (w *World) CheckAdopted(by string, code int) {
	w.T.Helper()
	pods := w.Pods()
	if len(pods) == 0 {
		w.T.Fatal("nothing runs that could be taken over")
	}
	w.Refused(code, "--adopt")
	w.Adopt, w.DryRun = capability.AdoptSameChart, true
	if result, err := w.Try(w.T.Context()); err != nil || result.Adopted != by || !result.Planned {
		w.T.Errorf("a dry run: %+v, %v", result, err)
	}
	w.Adopt, w.DryRun = capability.AdoptNothing, false
	w.Refused(code, "--adopt")
	w.Adopt = capability.AdoptSameChart
	if result, err := w.Try(w.T.Context()); err != nil || result.Adopted != by || result.Image != w.Image.Digest {
		w.T.Fatalf("%+v, %v\nhint: %s", result, err, protocol.HintOf(err))
	}
	w.NoLease()
	if result := w.Deploy(protocol.OutcomeUnchanged); result.Adopted != "" {
		w.T.Errorf("again: %+v", result)
	}
	w.Adopt = capability.AdoptNothing
	w.Deploy(protocol.OutcomeUnchanged)
	for _, want := range []protocol.Outcome{protocol.OutcomeGivenBack, protocol.OutcomeAbsent} {
		result, err := w.Adapter().(delivery.Adapter).GiveBack(w.T.Context(), w.Spec(), Target)
		if err != nil || result.Outcome != want {
			w.T.Fatalf("given back: %+v, %v", result, err)
		}
	}
	w.NoLease()
	image := w.Image
	w.NextImage("1.1.0")
	w.Refused(code, "--adopt")
	w.Image = image
	if after := w.Pods(); !slices.Equal(pods, after) {
		w.T.Errorf("pods %v, before %v", after, pods)
	}
}

// CheckAdoptedAgain takes over what was given back.
func (w *World) CheckAdoptedAgain() {
	w.T.Helper()
	pods := w.Pods()
	w.Adopt = capability.AdoptSameChart
	if result, err := w.Try(w.T.Context()); err != nil || result.Adopted == "" || !result.Outcome.Delivered() {
		w.T.Errorf("taken over again: %+v, %v", result, err)
	}
	w.Adopt = capability.AdoptNothing
	w.Deploy(protocol.OutcomeUnchanged)
	if after := w.Pods(); !slices.Equal(pods, after) {
		w.T.Errorf("pods %v, before %v", after, pods)
	}
}

// CheckAdoptedAtOnce has two take over what runs at the same time: one does, and the
// other finds that it is done.
func (w *World) CheckAdoptedAtOnce(by string) {
	w.T.Helper()
	pods := w.Pods()
	w.Adopt = capability.AdoptSameChart
	w.Chart() // not pushed by both at once
	results, errs := make([]protocol.DeployResult, 2), make([]error, 2)
	var both sync.WaitGroup
	for i := range results {
		both.Go(func() { results[i], errs[i] = w.Try(w.T.Context()) })
	}
	both.Wait()
	adopted := map[string]int{}
	for i, result := range results {
		if errs[i] != nil || !result.Outcome.Delivered() || result.Adopted == "" && result.Outcome != protocol.OutcomeUnchanged {
			w.T.Errorf("%+v, %v\nhint: %s", result, errs[i], protocol.HintOf(errs[i]))
		}
		adopted[result.Adopted]++
	}
	if adopted[by] != 1 || adopted[""] != 1 {
		w.T.Errorf("adopted from %v", adopted)
	}
	w.Adopt = capability.AdoptNothing
	w.Deploy(protocol.OutcomeUnchanged)
	if after := w.Pods(); !slices.Equal(pods, after) {
		w.T.Errorf("pods %v, before %v", after, pods)
	}
}

// CheckAdoptKilled kills the adoption of what runs at several moments. The next one
// comes to the end, and an upgrade finds nothing left over.
func (w *World) CheckAdoptKilled(moments ...time.Duration) {
	w.T.Helper()
	pods := w.Pods()
	w.Adopt = capability.AdoptSameChart
	for _, moment := range moments {
		w.KillAfter(moment)
	}
	if result, err := w.Try(w.T.Context()); err != nil || !result.Outcome.Delivered() || !slices.Equal(pods, w.Pods()) {
		w.T.Errorf("%+v, %v, pods %v, before %v", result, err, w.Pods(), pods)
	}
	w.Adopt = capability.AdoptNothing
	w.Deploy(protocol.OutcomeUnchanged)
	w.Values["replicas"] = float64(2)
	w.Deploy(protocol.OutcomeUpgraded)
}

// CheckDiffOfOthers shows what a deploy would change of an app that somebody else
// delivers, before it is taken over, and changes nothing.
func (w *World) CheckDiffOfOthers() {
	w.T.Helper()
	before := w.Deployment().Generation
	for replicas, want := range map[float64]string{1: "", 2: "Deployment " + w.Namespace + "/" + AppName} {
		w.Values["replicas"] = replicas
		objects, err := w.Adapter().(delivery.Adapter).Diff(w.T.Context(), w.Spec(), Target, w.Image, w.Chart())
		var changed []string
		for _, o := range objects {
			if o.Changed() {
				changed = append(changed, o.String())
			}
		}
		if err != nil || len(objects) != 2 || strings.Join(changed, " ") != want {
			w.T.Errorf("with %v replicas: %d objects, changed %q, %v", replicas, len(objects), changed, err)
		}
	}
	w.Values["replicas"] = float64(1)
	if after := w.Deployment().Generation; after != before {
		w.T.Errorf("the Deployment was changed: generation %d became %d", before, after)
	}
}

// Refused deploys, which has to be refused with words in the error or its hint.
func (w *World) Refused(code int, words ...string) {
	w.T.Helper()
	result, err := w.Try(w.T.Context())
	if protocol.ExitCode(err) != code {
		w.T.Fatalf("%+v, status %d: %v", result, protocol.ExitCode(err), err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error()+" "+protocol.HintOf(err), word) {
			w.T.Errorf("%v, hint %q: does not say %q", err, protocol.HintOf(err), word)
		}
	}
}
