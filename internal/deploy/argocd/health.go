package argocd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/reason"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// How long bad health has to last to be believed, and how long a view of the
// controller may be older than the sync before it is asked for another.
const (
	healthGrace = 10 * time.Second
	staleGrace  = 3 * time.Second
)

// references are the objects of the Application, without hooks and without
// what is to be deleted.
func references(found *application) []reference {
	var all []reference
	for _, r := range found.Status.Resources {
		if !r.Hook && !r.RequiresPruning {
			all = append(all, r.Reference)
		}
	}
	return all
}

// applied are the objects as the last operation left them, which the rest of
// the status may not tell yet.
func applied(s *operationState) []reference {
	var all []reference
	for _, r := range s.SyncResult.Resources {
		if r.HookType == "" && r.Status == api.Synced {
			all = append(all, r.Reference)
		}
	}
	return all
}

// workloads reads the objects that may run pods, and which of them are to be
// followed.
func (d *deployment) workloads(ctx context.Context, from []reference) ([]rollout.Workload, []*unstructured.Unstructured, error) {
	objects, err := d.objects(ctx, from)
	if err != nil {
		return nil, nil, err
	}
	workloads, err := rollout.Workloads(objects, d.Namespace)
	if err != nil {
		return nil, nil, err
	}
	stepwise, err := rollout.Progressive(ctx, objects, d.Space(), nil)
	return append(workloads, stepwise...), objects, err
}

// running reports that every workload is ready and runs the image. What speaks
// against that is told.
func (d *deployment) running(ctx context.Context, found *application) (bool, error) {
	workloads, objects, err := d.workloads(ctx, references(found))
	if err != nil {
		return false, err
	}
	return d.Runs(ctx, workloads, proof.Objects{Applied: objects, Hooks: d.hooksOf(releaseOf(found))})
}

// hooksOf reads the hooks of a release, which Argo CD may have deleted: they are
// those of its chart.
func (d *deployment) hooksOf(r release) func(context.Context) ([]*unstructured.Unstructured, error) {
	return func(ctx context.Context) ([]*unstructured.Unstructured, error) {
		chart, values := d.Chart, d.Values.All
		if chart.Digest != r.chart() && r.Source != nil {
			chart.URL, _ = r.Source["repoURL"].(string)
			chart.Digest = r.chart()
			values, _, _ = unstructured.NestedMap(r.Source, "helm", "valuesObject")
		}
		rendered, err := delivery.Render(ctx, d.Discovery, d.App, d.Target, d.Namespace, chart, values, false)
		return rendered.Hooks, err
	}
}

// follow waits until what was synced is rolled out, its image proven to run,
// and Argo CD finds all of it healthy.
func (d *deployment) follow(ctx context.Context, want release, image protocol.ImageRef) error {
	found, err := d.argo.existing(ctx)
	if err != nil {
		return err
	}
	from := references(found)
	if s := found.Status.OperationState; s != nil && s.Phase == api.Succeeded && s.SyncResult != nil && !fresh(found) {
		from = applied(s)
	}
	if err := d.rolledOut(ctx, from, image, want); err != nil {
		return err
	}
	return d.awaitHealthy(ctx, want)
}

// rolledOut waits until the workloads among the objects of a release are ready,
// with its images proven to run.
func (d *deployment) rolledOut(ctx context.Context, from []reference, image protocol.ImageRef, r release) error {
	workloads, objects, err := d.workloads(ctx, from)
	if err != nil {
		return err
	}
	d.TellUnproven(objects)
	prover := proof.NewProver(d.App.Name, image)
	err = rollout.Wait(ctx, d.Client, workloads, rollout.Options{
		Progress: delivery.Rollout(d.Progress, "rollout"), FailFast: d.settings.failFast, Promote: d.promote,
		Check: func(s []rollout.Snapshot) (bool, error) {
			return prover.Proven(ctx, proof.Objects{Applied: objects, Hooks: d.hooksOf(r)}, s)
		},
	})
	if err != nil {
		return fmt.Errorf("%w%s", err, d.unhealthy(ctx))
	}
	return nil
}

// fresh reports that Argo CD has looked at the objects since the last operation
// ended: health is about what was there before otherwise.
func fresh(found *application) bool {
	s, at := found.Status.OperationState, found.Status.ReconciledAt
	return at != nil && (s == nil || s.FinishedAt == nil || !at.Before(s.FinishedAt))
}

// awaitHealthy waits until Argo CD finds the release in force and healthy.
func (d *deployment) awaitHealthy(ctx context.Context, want release) error {
	asked, bad, told := time.Now(), time.Time{}, ""
	for {
		found, err := d.argo.existing(ctx)
		if err != nil {
			return err
		}
		if now := releaseOf(found); d.settings.manage && now.chart() != want.chart() {
			return fmt.Errorf("%s was changed meanwhile: it wants %s instead of %s", d.argo, now.chart(), want.chart())
		}
		status := found.Status.Health.Status
		current := fresh(found) && api.Pick(found.Status.Sync.Revision, found.Status.Sync.Revisions, d.sourceIndex(found)) == want.chart()
		switch {
		case current && status == api.Healthy && found.Problem() == nil:
			return nil
		case !current || status != api.Degraded && found.Problem() == nil:
			bad = time.Time{}
		case bad.IsZero():
			bad = time.Now()
		case time.Since(bad) > healthGrace && d.hopeless(complaints(found)):
			return fmt.Errorf("%s is %s%s", d.argo, strings.ToLower(status), listed(complaints(found)))
		}
		if status != "" && status != told {
			told = status
			d.Say("health", "Argo CD: %s", strings.ToLower(status))
		}
		if !current && time.Since(asked) > staleGrace {
			asked, err = time.Now(), d.argo.refresh(ctx)
		}
		if err == nil {
			err = d.argo.wait(ctx, found, look)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s is not healthy but %s%s: %w", d.argo, strings.ToLower(status), listed(complaints(found)), err)
		}
		if err != nil {
			return err
		}
	}
}

// hopeless reports complaints that end a deploy before its time is over: one that
// no retry mends, or any where the topology wants to fail fast.
func (d *deployment) hopeless(complaints []string) bool {
	return d.settings.failFast || slices.ContainsFunc(complaints, reason.Final)
}

// complaints are what Argo CD says of the objects that are not healthy, and of
// the Application itself.
func complaints(found *application) []string {
	var lines []string
	if c := found.Problem(); c != nil {
		lines = append(lines, delivery.Clean(c.Type+": "+c.Message))
	}
	for _, r := range found.Status.Resources {
		if r.Health == nil || r.Health.Status == api.Healthy || r.Health.Status == "" {
			continue
		}
		line := r.String() + " " + r.Health.Status
		if r.Health.Message != "" {
			line += ": " + r.Health.Message
		}
		lines = append(lines, delivery.Clean(line))
	}
	return lines
}

// unhealthy is what Argo CD says of the objects now, below an error.
func (d *deployment) unhealthy(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	found, err := d.argo.get(ctx)
	if err != nil || found == nil {
		return ""
	}
	if lines := complaints(found); len(lines) > 0 {
		return "\n  Argo CD says:" + strings.ReplaceAll(listed(lines), "\n", "\n  ")
	}
	return ""
}
