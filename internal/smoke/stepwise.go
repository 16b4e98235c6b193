package smoke

import (
	"context"
	"math"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The kinds that controllers of others roll out step by step: Argo Rollouts, and
// Flagger.
const (
	kindRollout = "rollout"
	kindCanary  = "canary"
)

func stepwise(kind string) bool { return kind == kindRollout || kind == kindCanary }

// targetRef is what a Canary is about.
type targetRef struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// withPrimaries adds the Deployments that Flagger makes, from which the app serves, to
// the workloads. They are of no release themselves.
func (p rolloutProbe) withPrimaries(ctx context.Context, found []workload) ([]workload, error) {
	for _, canary := range found {
		ref := canary.Spec.TargetRef
		if canary.kind != kindCanary || ref.Kind != "Deployment" {
			continue
		}
		primary := workload{kind: workloadKinds[0].names[0]}
		err := p.cluster.get(ctx, workloadKinds[0].group, workloadKinds[0].resource+"/"+ref.Name+"-primary", nil, &primary)
		if apierrors.IsNotFound(err) {
			continue // the Canary itself is not ready then
		}
		if err != nil {
			return nil, err
		}
		found = append(found, primary)
	}
	return found, nil
}

// generation is that of an object as its status tells it: a number, or, of a
// Rollout, a text with one. Before version 0.10 that was a hash, which says nothing.
type generation int64

func (g *generation) UnmarshalJSON(text []byte) error {
	number, err := strconv.ParseInt(strings.Trim(string(text), `"`), 10, 64)
	if err != nil {
		number = math.MaxInt64
	}
	*g = generation(number)
	return nil
}

// phase is what a Rollout or a Canary waits for, or "". What its controller says is
// the whole of it.
func (w workload) phase() string {
	told := strings.ToLower(w.Status.Phase)
	if w.Status.Message != "" {
		told += ": " + w.Status.Message
	}
	for _, c := range w.Status.Conditions {
		if w.kind == kindCanary && c.Type == "Promoted" && c.Message != "" {
			told += ": " + c.Message
		}
	}
	switch {
	case w.kind == kindRollout && w.Status.Phase == "Healthy" && w.Status.CurrentPodHash == w.Status.StableRS,
		w.kind == kindCanary && (w.Status.Phase == "Initialized" || w.Status.Phase == "Succeeded"):
		return ""
	case told == "":
		return "its controller has not taken it up yet"
	case w.kind == kindRollout && w.Status.Phase == "Healthy":
		return "not all pods are of the newest change"
	}
	return told
}
