package edge

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	chartfile "github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/removal"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The files of a tombstone: the objects that stay on the devices, and those that go, for
// devices that do not prune. What applies a folder leaves out the second one, which has
// no extension.
const (
	fileKept    = "00-kept.yaml"
	fileRemoved = "removed"
)

// notPruned is the annotation of objects that Flux does not delete.
const notPruned = "kustomize.toolkit.fluxcd.io/prune"

// grave is what an uninstall does on the devices.
type grave struct {
	files         []file
	removed, kept []protocol.ObjectRef
}

// Remove implements [capability.Remover]: it replaces the state that devices follow
// by a tombstone. The outcome is protocol.OutcomePublished until every known
// device has reported that the app is gone. Devices are waited for as in a deploy.
func (a *adapter) Remove(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	d, err := a.open(app, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	d.tombstone = true
	result, err := d.remove(ctx)
	return ended(ctx, "uninstall "+app.Name+" from "+target, result, err)
}

func (d *deployment) remove(ctx context.Context) (protocol.DeployResult, error) {
	newest, now, err := d.newest(ctx)
	if now.Digest == "" { // only the first rings follow one
		now = newest
	}
	if err != nil || now.Digest == "" {
		return d.absent(), err
	}
	if of := now.Annotations[marks.App]; of != d.app.Name {
		return protocol.DeployResult{}, protocol.Unsupported("%s@%s was not published by harmony for %s", d.place.State, now.Digest, d.app.Name).
			WithHint("see who else pushes there: harmony publishes to it what the devices of %s follow", d.place.Whose())
	}
	g, err := d.graveOf(ctx, now)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if now.IsTombstone() {
		if reported, err := d.reports(ctx, now.Digest); err == nil && reported.Ready() {
			return d.absent(), nil
		}
	}
	p, err := d.bury(ctx, now, g)
	if err == nil && d.ringed() && !d.dryRun {
		err = d.buryAll(ctx, p.digest)
	}
	if err != nil {
		return protocol.DeployResult{}, err
	}
	var reported devices.Progress
	if !d.dryRun {
		if reported, err = d.await(ctx, p.digest); err != nil {
			return protocol.DeployResult{}, err
		}
	}
	result := d.result(p, reported)
	result.Removed, result.Kept = g.removed, g.kept
	if reported.Ready() {
		result.Outcome = protocol.OutcomeRemoved
	}
	return result, nil
}

// absent is the result of an uninstall that found nothing.
func (d *deployment) absent() protocol.DeployResult {
	return protocol.DeployResult{
		Metadata: d.app.Metadata, Target: d.target, Adapter: Name, Namespace: d.place.Target.Namespace, Release: d.app.Name,
		Outcome: protocol.OutcomeAbsent, Planned: d.dryRun,
	}
}

// bury publishes the tombstone of a state, if it is not one itself. Each is another one:
// an old report that the app is gone never counts for a new uninstall. In a dry run, its
// digest is not known.
func (d *deployment) bury(ctx context.Context, state devices.Artifact, g grave) (published, error) {
	switch {
	case state.IsTombstone():
		return published{digest: state.Digest, unchanged: true, previous: state}, nil
	case d.dryRun:
		return published{previous: state}, nil
	}
	image, err := imageOf(g.files, map[string]string{
		annotationSource:   state.Annotations[annotationSource],
		annotationRevision: devices.TagRemoved + "@" + state.Digest,
		annotationCreated:  time.Now().UTC().Format(time.RFC3339Nano),
		marks.App:          d.app.Name,
		marks.Removed:      "true",
	})
	if err != nil {
		return published{}, err
	}
	return d.publish(ctx, devices.TagRemoved, image)
}

// buryAll has all rings follow a tombstone, and ends a rollout that is on its way.
func (d *deployment) buryAll(ctx context.Context, digest string) error {
	tombstone, err := d.place.State.Get(ctx, digest)
	if err != nil {
		return err
	}
	if err := d.place.SetRollout(ctx, devices.Rollout{Digest: digest, Stage: devices.Done}); err != nil {
		return err
	}
	return d.allFollow(ctx, tombstone, tombstone)
}

// graveOf is what an uninstall makes of a state: what the chart keeps, namespaces and
// CustomResourceDefinitions stay. That of a tombstone is the tombstone itself.
func (d *deployment) graveOf(ctx context.Context, state devices.Artifact) (grave, error) {
	files, err := d.filesOf(state)
	if err != nil {
		return grave{}, err
	}
	all, err := objects(files)
	if err != nil {
		return grave{}, err
	}
	plan := removal.Of(manifest.Space{}, d.app.Name, all)
	if state.IsTombstone() {
		plan.Stays = all
		if plan.Goes, err = listed(files); err != nil {
			return grave{}, err
		}
	}
	g := grave{removed: references(plan.Goes), kept: references(plan.Stays)}
	if g.files, err = graveFiles(plan); err != nil {
		return grave{}, err
	}
	if release := d.released(plan.Goes); release != nil {
		err = d.lookInto(ctx, release, plan.Goes, &g)
	}
	return g, err
}

// listed are the objects that a tombstone removes.
func listed(files []file) ([]*unstructured.Unstructured, error) {
	for _, f := range files {
		if f.name == fileRemoved {
			return manifest.Parse(string(f.content))
		}
	}
	return nil, nil
}

// graveFiles are the files of a tombstone. Nothing deletes what stays, also not when the
// device does not follow the tombstone any more.
func graveFiles(plan removal.Plan) ([]file, error) {
	for _, o := range plan.Stays {
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[notPruned] = "disabled"
		o.SetAnnotations(annotations)
	}
	kept, err := encode(plan.Stays)
	if err != nil {
		return nil, err
	}
	var names []*unstructured.Unstructured
	for _, o := range plan.Goes {
		name := &unstructured.Unstructured{}
		name.SetAPIVersion(o.GetAPIVersion())
		name.SetKind(o.GetKind())
		name.SetName(o.GetName())
		name.SetNamespace(o.GetNamespace())
		names = append(names, name)
	}
	removed, err := encode(names)
	return []file{{fileKept, kept}, {fileRemoved, removed}}, err
}

func references(objects []*unstructured.Unstructured) []protocol.ObjectRef {
	var all []protocol.ObjectRef
	for _, o := range objects {
		all = append(all, removal.Reference(o))
	}
	return all
}

// released is the HelmRelease of a state that has one, with its chart and values; else
// nil.
func (d *deployment) released(objects []*unstructured.Unstructured) *unstructured.Unstructured {
	for _, o := range objects {
		if o.GroupVersionKind().Group == api.Releases.Group && o.GetName() == d.app.Name && o.Object["spec"] != nil {
			return o
		}
	}
	return nil
}

// lookInto names the objects of the chart of a HelmRelease, which helm-controller
// uninstalls. It fails for those that Helm would delete along with what is not the
// app's.
func (d *deployment) lookInto(ctx context.Context, release *unstructured.Unstructured, state []*unstructured.Unstructured, g *grave) error {
	chart, err := d.chartIn(ctx, release, state)
	if err != nil {
		d.progress(protocol.Event{Phase: "warning", Message: "what the chart keeps is not known, for it cannot be rendered: " + delivery.Clean(err.Error())})
		return nil
	}
	if err := delivery.KeepsOthers("Helm", chart.Objects); err != nil {
		return err
	}
	if err := place(chart.Objects, chart.crds, d.place.Target.Namespace); err != nil {
		return err
	}
	plan := removal.Of(manifest.Space{}, d.app.Name, chart.Objects)
	g.removed = append(g.removed, references(plan.Goes)...)
	g.kept = append(g.kept, references(append(plan.Stays, chart.crds...))...)
	return nil
}

// chartIn renders the chart of a HelmRelease with its values.
func (d *deployment) chartIn(ctx context.Context, release *unstructured.Unstructured, all []*unstructured.Unstructured) (state, error) {
	of := *d
	for _, o := range all {
		if o.GetKind() != "OCIRepository" {
			continue
		}
		of.chart.Chart = d.app.Name
		of.chart.URL, _, _ = unstructured.NestedString(o.Object, "spec", "url")
		of.chart.Digest, _, _ = unstructured.NestedString(o.Object, "spec", "ref", "digest")
		of.chart.Insecure, _, _ = unstructured.NestedBool(o.Object, "spec", "insecure")
	}
	if of.chart.URL == "" {
		return state{}, errors.New("the state has no OCIRepository")
	}
	of.values, _, _ = unstructured.NestedMap(release.Object, "spec", "values")
	archive, err := chartfile.Fetch(ctx, of.chart)
	if err != nil {
		return state{}, err
	}
	return of.render(archive)
}
