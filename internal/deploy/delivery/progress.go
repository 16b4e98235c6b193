package delivery

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Progress is the environment's, for an app.
func Progress(env capability.Environment, app protocol.AppSpec) func(protocol.Event) {
	return func(e protocol.Event) {
		e.Metadata = app.Metadata
		env.Progress(e)
	}
}

// Rollout passes the status of a workload on as an event of the phase.
func Rollout(progress func(protocol.Event), phase string) func(rollout.Workload, rollout.Status) {
	return func(w rollout.Workload, s rollout.Status) {
		progress(protocol.Event{Phase: phase, Current: s.ReadyPods, Total: s.Pods, Unit: "pods", Message: w.String() + ": " + s.Message})
	}
}

// Reported puts drift that is only reported into the result, and tells it.
func Reported(progress func(protocol.Event), result protocol.DeployResult, drift []string) protocol.DeployResult {
	result.Drift = drift
	if len(drift) > 0 {
		progress(protocol.Event{Phase: "drift", Message: strings.Join(drift, ", ")})
	}
	return result
}

// Drifted adds to an error what somebody changed of the release.
func Drifted(err error, drift []string) error {
	return fmt.Errorf("%w\nsomebody changed the release, which is only reported (drift: report): %s", err, strings.Join(drift, ", "))
}

// Ready reports that every workload is ready.
func Ready(snapshots []rollout.Snapshot) (bool, error) {
	for _, s := range snapshots {
		if found, err := rollout.StatusOf(s); err != nil || !found.Ready {
			return false, err
		}
	}
	return true, nil
}

// ReplaceStuck deletes pods that their controller tries again after ever longer
// pauses, so that what was mended meanwhile is seen at once.
func ReplaceStuck(ctx context.Context, client kubernetes.Interface, workloads []rollout.Workload) error {
	snapshots, err := rollout.Read(ctx, client, workloads)
	if err != nil {
		return err
	}
	for _, s := range snapshots {
		for _, pod := range s.Stuck() {
			options := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}
			if err := client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, options); err != nil {
				return fmt.Errorf("replace pod %s: %w", pod.Name, err)
			}
		}
	}
	return nil
}
