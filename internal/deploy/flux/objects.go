package flux

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The resources of Flux that are written.
var sources, releases = api.Sources, api.Releases

// sourceAt is where the OCIRepository of the chart is. Each digest has its own,
// so that a HelmRelease goes from one chart and its values to another chart and
// its values in one write, once the chart is there.
func (d *deployment) sourceAt() (namespace, name string) {
	name = api.SourceName(d.App.Name, d.Chart.Digest)
	if d.settings.sourceNamespace == "" || d.settings.sourceNamespace == d.Namespace {
		return d.Namespace, name
	}
	return d.settings.sourceNamespace, d.Namespace + "-" + name
}

// sourceLabels are those by which the OCIRepositories of a HelmRelease are found
// again.
func (d *deployment) sourceLabels() map[string]string {
	return map[string]string{marks.Release: d.App.Name, marks.Namespace: d.Namespace}
}

func (d *deployment) wantedSource() (*unstructured.Unstructured, error) {
	namespace, name := d.sourceAt()
	made, err := api.Source(d.Chart, namespace, name, d.settings.interval.String(), d.settings.secretRef)
	if err == nil {
		made.SetLabels(d.sourceLabels())
	}
	return made, err
}

// wantedRelease is the HelmRelease to write over the one that is there now.
func (d *deployment) wantedRelease(now seen) (*unstructured.Unstructured, error) {
	namespace, name := d.sourceAt()
	chart := map[string]any{"kind": "OCIRepository", "name": name}
	if namespace != d.Namespace {
		chart["namespace"] = namespace
	}
	drift := map[string]any{"mode": "enabled"}
	if d.settings.reportDrift {
		drift["mode"] = "warn"
	}
	if len(d.settings.driftIgnore) > 0 {
		drift["ignore"] = []any{map[string]any{"paths": d.settings.driftIgnore}}
	}
	spec := map[string]any{
		"interval":       d.settings.interval.String(),
		"timeout":        d.settings.timeout.String(),
		"maxHistory":     d.settings.maxHistory,
		"driftDetection": drift,
	}
	if d.settings.serviceAccount != "" {
		spec["serviceAccountName"] = d.settings.serviceAccount
	}
	inClear := d.Values.All
	if from := d.valuesFrom(now); from != nil {
		spec["valuesFrom"], inClear = from, nil
	}
	return api.Release(d.Namespace, d.App.Name, chart, d.settings.retries, d.settings.rollback, inClear, spec)
}

// checked examines what Flux would apply, before the HelmRelease is written: what
// the API server would refuse is an error, and what an autoscaler scales keeps
// its replicas. A chart that cannot be rendered here is left to Flux.
func (d *deployment) checked(ctx context.Context, p *parts) error {
	if !p.release.differs || d.isForeign(p.release.seen) {
		return nil
	}
	var before []*unstructured.Unstructured
	if p.release.seen.exists() {
		r, err := d.read(ctx, p.release.seen, p.release.seen.revision())
		if err != nil {
			return err
		}
		if r != nil {
			before = r.objects
		}
	}
	rendered, err := delivery.Render(ctx, d.Discovery, d.App, d.Target, d.Namespace, d.Chart, d.Values.All, before == nil)
	if err != nil {
		d.Say("warning", "the chart is not checked before Flux gets it: %s", err.Error())
	}
	found := drift.Finder{Space: d.Space()}
	scaled, err := found.Scaled(ctx, append(rendered.Objects, before...))
	if err != nil {
		return err
	}
	api.LeaveReplicas(p.release.want, scaled, d.settings.driftIgnore)
	if _, err := found.KeepReplicas(ctx, before, rendered.Objects); err != nil {
		return err
	}
	preview := delivery.Preview{Space: d.Space(), Source: rendered.Source, BringsKinds: rendered.BringsKinds}
	return preview.Check(ctx, before, rendered.Objects)
}

// outage is how long an API server that is away in mid-deploy is waited for.
const outage = time.Minute

func (d *deployment) look(ctx context.Context) (source, release seen, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		namespace, name := d.sourceAt()
		source, err = d.get(ctx, sources, namespace, name)
		return err
	})
	group.Go(func() (err error) {
		release, err = d.get(ctx, releases, d.Namespace, d.App.Name)
		return err
	})
	return source, release, group.Wait()
}

// prune deletes the OCIRepositories of charts that the release has left behind.
// What cannot be deleted is for the next deploy.
func (d *deployment) prune(ctx context.Context) {
	namespace, name := d.sourceAt()
	charts, err := d.charts(ctx)
	if err != nil {
		d.Say("warning", "old OCIRepositories are left: %s", err.Error())
		return
	}
	for _, old := range charts {
		if old.GetName() == name {
			continue
		}
		err := d.Dynamic.Resource(sources).Namespace(namespace).
			Delete(ctx, old.GetName(), metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(old.GetUID()))})
		if err != nil && !apierrors.IsNotFound(err) {
			d.Say("warning", "OCIRepository %s is left: %v", old.GetName(), err)
		}
	}
}

func (d *deployment) get(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (seen, error) {
	object, err := d.Dynamic.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return seen{}, d.noFlux(resource)
	case apierrors.IsNotFound(err):
		return seen{}, nil
	case err != nil:
		return seen{}, fmt.Errorf("read %s %s/%s: %w", resource.Resource, namespace, name, err)
	}
	return newSeen(object)
}

func (d *deployment) noFlux(resource schema.GroupVersionResource) error {
	return protocol.Unsupported("the cluster of context %q has no Flux: it does not serve %s of %s", d.Context, resource.Resource, resource.GroupVersion()).
		WithHint("install source-controller and helm-controller (flux install), or choose another adapter in spec.continuousDelivery of the topology")
}

// apply writes the fields of want by server-side apply; in a dry run the server
// only says what would come of it.
func (d *deployment) apply(ctx context.Context, resource schema.GroupVersionResource, want *unstructured.Unstructured, force, dryRun bool) (seen, error) {
	options := metav1.ApplyOptions{FieldManager: marks.Harmony, Force: force}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	made, err := d.Dynamic.Resource(resource).Namespace(want.GetNamespace()).Apply(ctx, want.GetName(), want, options)
	if err != nil {
		return seen{}, d.applyError(want, err)
	}
	return newSeen(made)
}

// applyError explains a conflict about fields, and gives bad input its exit status.
func (d *deployment) applyError(want *unstructured.Unstructured, err error) error {
	told := fmt.Errorf("write %s: %w", seen{api.Seen{Unstructured: want}}, err)
	switch {
	case apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict):
		return &protocol.Error{
			Code: protocol.ExitFailed, Err: told,
			Hint: "somebody else set these fields; give them up there, or set continuousDelivery.settings.force: true to take them over",
		}
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return &protocol.Error{Code: protocol.ExitInvalid, Err: told}
	}
	return told
}

// newToken is a token for a request to Flux, which handles each once.
func newToken() string { return time.Now().UTC().Format(time.RFC3339Nano) }

// annotate sets annotations of an object, whoever set them before.
func (d *deployment) annotate(ctx context.Context, resource schema.GroupVersionResource, s seen, annotations map[string]string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return err
	}
	return d.survive(ctx, func() error {
		_, err := d.Dynamic.Resource(resource).Namespace(s.GetNamespace()).
			Patch(ctx, s.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: marks.Harmony})
		if err != nil {
			return fmt.Errorf("annotate %s: %w", s, err)
		}
		return nil
	})
}

// changed returns when the object has changed since it was read, or after a
// second.
func (d *deployment) changed(ctx context.Context, resource schema.GroupVersionResource, s seen) error {
	return lease.AwaitChange(ctx, time.Second, func(ctx context.Context) (watch.Interface, error) {
		return d.Dynamic.Resource(resource).Namespace(s.GetNamespace()).Watch(ctx, metav1.ListOptions{
			FieldSelector:   fields.OneTermEqualSelector("metadata.name", s.GetName()).String(),
			ResourceVersion: s.GetResourceVersion(),
		})
	})
}

// survive repeats a call while the API server is unavailable.
func (d *deployment) survive(ctx context.Context, call func() error) error {
	return delivery.Retry(ctx, d.Conn, outage, d.Progress, call)
}
