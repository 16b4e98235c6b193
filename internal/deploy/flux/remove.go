package flux

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/internal/cluster/removal"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Remove implements [capability.Remover]: Flux uninstalls the release when its
// HelmRelease is deleted.
func (a *adapter) Remove(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	d, err := a.open(app, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, d.settings.timeout)
	defer cancel()
	result, err := d.remove(bounded)
	return result, d.Values.Masked(delivery.Explain(ctx, d.Conn, d.Uninstalling(), d.settings.timeout, err))
}

func (d *deployment) remove(ctx context.Context) (protocol.DeployResult, error) {
	if err := namespace.Check(ctx, d.Client, d.Namespace); err != nil {
		return protocol.DeployResult{}, err
	}
	s, charts, err := d.removable(ctx)
	if err != nil || !s.exists() && len(charts) == 0 {
		return d.Absent(Name), err
	}
	c := d.lock(d.removeHeld)
	c.Plan = func(ctx context.Context) (protocol.DeployResult, error) {
		p, err := d.removal(s)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		return d.Gone(ctx, Name, p)
	}
	return c.Run(ctx, ctx)
}

// removable is the HelmRelease, and the OCIRepositories that harmony made for it. It
// fails for one that is not harmony's, or that Flux would not uninstall.
func (d *deployment) removable(ctx context.Context) (s seen, charts []seen, err error) {
	if s, err = d.get(ctx, releases, d.Namespace, d.App.Name); err != nil {
		return s, nil, err
	}
	switch {
	case d.isForeign(s):
		return s, nil, delivery.NotOurs(s.String(), strings.Join(delivery.Managers(s.Unstructured), ", ")).
			WithHint("remove it where it comes from, or take it over with harmony adopt")
	case !s.exists():
		found, err := d.query(s, "")
		if err == nil && len(found) > 0 {
			err = delivery.NotOurs("release "+d.App.Name+" in namespace "+d.Namespace, "something other than Flux").
				WithHint("uninstall it with the adapter that deployed it: see harmony status, or helm uninstall %s --namespace %s", d.App.Name, d.Namespace)
		}
		if err != nil {
			return s, nil, err
		}
	case s.GetDeletionTimestamp() == nil:
		if err := d.mayTouch(s, s.Unstructured); err != nil {
			return s, nil, err
		}
	}
	charts, err = d.charts(ctx)
	return s, charts, err
}

// charts are the OCIRepositories that harmony made for the HelmRelease.
func (d *deployment) charts(ctx context.Context) ([]seen, error) {
	namespace, _ := d.sourceAt()
	list, err := d.Dynamic.Resource(sources).Namespace(namespace).
		List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(d.sourceLabels()).String()})
	if err != nil {
		return nil, fmt.Errorf("list the OCIRepositories of %s: %w", d.App.Name, err)
	}
	var ours []seen
	for i := range list.Items {
		if one := (seen{api.Seen{Unstructured: &list.Items[i]}}); isOurs(one) {
			ours = append(ours, one)
		}
	}
	return ours, nil
}

// removal is what becomes of the objects of the newest revision in Helm's storage.
func (d *deployment) removal(s seen) (removal.Plan, error) {
	history, err := d.query(s, "")
	if err != nil || len(history) == 0 {
		return removal.Of(d.Space(), d.App.Name, nil), err
	}
	newest := slices.MaxFunc(history, func(a, b *release.Release) int { return a.Version - b.Version })
	objects, err := manifest.Parse(newest.Manifest)
	if err == nil {
		err = delivery.KeepsOthers("Flux", objects)
	}
	if err != nil {
		return removal.Plan{}, err
	}
	return d.RemovalOf(newest)
}

// removeHeld does the work of remove under the lease. The OCIRepositories go last, so
// that a process that is killed leaves something to go on from.
func (d *deployment) removeHeld(ctx context.Context) (protocol.DeployResult, error) {
	s, charts, err := d.removable(ctx)
	if err != nil || !s.exists() && len(charts) == 0 {
		return d.Absent(Name), err
	}
	p, err := d.removal(s)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if s.exists() {
		if err := d.hide(ctx, s); err != nil {
			return protocol.DeployResult{}, err
		}
		if err := d.delete(ctx, s); err != nil {
			return protocol.DeployResult{}, err
		}
		if err := d.awaitDeleted(ctx, s, p); err != nil {
			return protocol.DeployResult{}, err
		}
	}
	if err := d.AwaitGone(ctx, p); err != nil {
		return protocol.DeployResult{}, err
	}
	if err := d.pruneValues(ctx, ""); err != nil {
		return protocol.DeployResult{}, err
	}
	for _, chart := range charts {
		resource := d.Dynamic.Resource(sources).Namespace(chart.GetNamespace())
		if err := resource.Delete(ctx, chart.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return protocol.DeployResult{}, fmt.Errorf("delete %s: %w", chart, err)
		}
	}
	return d.Gone(ctx, Name, p)
}

// delete deletes the HelmRelease, and has Flux delete each object once those that
// it owns, such as pods, are gone.
func (d *deployment) delete(ctx context.Context, s seen) error {
	if s.GetDeletionTimestamp() != nil {
		return nil
	}
	d.Say("remove", "%s", s)
	patch := []byte(`{"spec":{"uninstall":{"deletionPropagation":"foreground"}}}`)
	resource := d.Dynamic.Resource(releases).Namespace(d.Namespace)
	return d.survive(ctx, func() error {
		_, err := resource.Patch(ctx, s.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: marks.Harmony})
		if err == nil {
			err = resource.Delete(ctx, s.GetName(), metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.GetUID()))})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s: %w", s, err)
		}
		return nil
	})
}

// awaitDeleted waits until Flux has uninstalled the release, which it tells by
// letting the HelmRelease go.
func (d *deployment) awaitDeleted(ctx context.Context, s seen, p removal.Plan) error {
	told := ""
	for {
		now, err := delivery.Retried(ctx, d.survive, func(ctx context.Context) (seen, error) {
			return d.get(ctx, releases, d.Namespace, d.App.Name)
		})
		if err == nil && (!now.exists() || now.GetUID() != s.GetUID()) {
			return nil
		}
		if err == nil {
			if ready := now.Condition(meta.ReadyCondition); ready != nil && ready.Status == metav1.ConditionFalse && ready.Message != told {
				told = ready.Message
				d.Say("remove", "%s: %s", now, told)
			}
			err = d.changed(ctx, releases, now)
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return d.notDeleted(ctx, s, told, p)
		}
		if err != nil {
			return err
		}
	}
}

// notDeleted is the error for a HelmRelease that does not go in time.
func (d *deployment) notDeleted(ctx context.Context, s seen, told string, p removal.Plan) error {
	if left := p.Left(ctx); left != nil {
		return left
	}
	if told != "" {
		told = ": " + rollout.Clean(told)
	}
	return protocol.Retryable("Flux has not let go of %s%s", s, told).
		WithHint("see that helm-controller runs: kubectl get deployments -A -l app.kubernetes.io/part-of=flux")
}
