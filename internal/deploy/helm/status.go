package helm

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	argo "github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	flux "github.com/nationtech/harmony/internal/deploy/flux/api"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Status shows what runs of an app in a place that is one namespace of one
// cluster, through whatever it was delivered. Flux keeps its releases as Helm
// does: such a release is reported as Flux's.
func (a *adapter) Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error) {
	d, err := a.open(app, target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.settings.timeout)
	defer cancel()
	entries, last, err := d.status(ctx)
	if err != nil {
		return nil, d.Explain(err)
	}
	hide(app, target, last, entries)
	for i := range entries {
		entries[i].App, entries[i].Target, entries[i].Context, entries[i].Namespace = app.Name, target, d.Context, d.Namespace
	}
	return entries, nil
}

// status also returns the release that Helm has, or nil.
func (d *deployment) status(ctx context.Context) ([]status.Entry, *release.Release, error) {
	entries, err := controllers(ctx, d.Dynamic, d.Namespace, d.App.Name)
	if err != nil {
		return nil, nil, err
	}
	last, err := d.last(ctx)
	if err != nil {
		return nil, nil, err
	}
	if isGone(last) {
		if len(entries) == 0 {
			entries = []status.Entry{{State: status.Absent}}
		}
		return entries, nil, nil
	}
	for i := range entries {
		if entries[i].Adapter == "flux" {
			return entries, last, d.complete(ctx, &entries[i], last)
		}
	}
	own, err := d.entry(ctx, last)
	return append(entries, own), last, err
}

// hide keeps values that are encrypted in the project out of the messages, which may quote
// them: those that the release got are known, and without a release the message is not shown.
func hide(app protocol.AppSpec, target string, last *release.Release, entries []status.Entry) {
	known, err := values.StandIns(app, target)
	if err == nil && len(known.Encrypted) == 0 {
		return
	}
	for i := range entries {
		e := &entries[i]
		switch {
		case e.Message == "":
		case last == nil:
			e.Message = "what it says may quote encrypted values; kubectl describe shows it"
		default:
			e.Message = values.Secretly(app, target, last.Config).Mask(e.Message)
		}
	}
}

// complete adds the release itself to what Flux reports about it, and
// what runs of it: after a rollback by Flux that is not what it is configured to run.
func (d *deployment) complete(ctx context.Context, e *status.Entry, last *release.Release) error {
	image, images := "", ""
	if like, err := protocol.ParseImageRef(e.Reference); err == nil {
		objects, err := manifest.Parse(last.Manifest)
		if err != nil {
			return err
		}
		hooks, err := delivery.Hooks(last)(ctx)
		if err != nil {
			return err
		}
		image = proof.DigestIn(objects, like)
		images = marks.WriteImages(proof.ImagesIn(append(objects, hooks...), marks.ReadImages(e.References, like)))
	}
	of, err := d.withImage(last, image, images)
	if err != nil {
		return err
	}
	e.Image, e.Images = image, status.Digests(images)
	e.Version, _, _ = strings.Cut(versionOf(last), "+") // Flux adds the digest to the chart's version
	if e.Drift, err = of.drift(ctx, last, e.DriftIgnore...); err != nil {
		return err
	}
	message, err := of.unhealthy(ctx, last)
	if message != "" && e.Healthy {
		e.Healthy, e.Message = false, message
	}
	return err
}

// entry is the status of Helm's own release and of its workloads.
func (d *deployment) entry(ctx context.Context, last *release.Release) (status.Entry, error) {
	made := recordOf(last)
	since := last.Info.LastDeployed.Time.UTC()
	e := status.Entry{
		Adapter: Name, Object: "release " + last.Name, Revision: last.Version, Since: &since,
		State: string(last.Info.Status), Image: made.image, Images: status.Digests(made.images), Chart: made.chart, Version: versionOf(last),
	}
	of, err := d.revision(last)
	if err != nil {
		e.Message = err.Error()
		return e, nil
	}
	if e.Drift, err = of.drift(ctx, last); err != nil {
		return e, err
	}
	if e.Message, err = of.unhealthy(ctx, last); err != nil {
		return e, err
	}
	if last.Info.Status != release.StatusDeployed && e.Message == "" {
		e.Message = last.Info.Description
	}
	e.Healthy = e.Message == ""
	return e, nil
}

// unhealthy says why a revision is not healthy, or "".
func (d *deployment) unhealthy(ctx context.Context, r *release.Release) (string, error) {
	workloads, err := d.workloads(ctx, r)
	if err != nil {
		return "", err
	}
	snapshots, err := rollout.Read(ctx, d.Client, workloads)
	if err != nil {
		return "", err
	}
	for _, s := range snapshots {
		found, err := rollout.StatusOf(s)
		switch {
		case err != nil:
			return "", err
		case len(found.Suspects) > 0:
			return found.Suspects[0].String(), nil
		case !found.Ready:
			return s.Workload.String() + ": " + found.Message, nil
		}
	}
	proven, err := d.proven(ctx, r, snapshots)
	switch {
	case err != nil && ctx.Err() == nil:
		return err.Error(), nil
	case !proven:
		return "the image is starting", ctx.Err()
	}
	return "", nil
}

// versionOf is the app's version, which the deploy notes, and which publish writes
// into the app's own chart.
func versionOf(r *release.Release) string {
	if r.Chart == nil || r.Chart.Metadata == nil {
		return ""
	}
	if version := r.Chart.Metadata.Annotations[marks.Version]; version != "" {
		return version
	}
	if version := r.Chart.Metadata.AppVersion; version != "" {
		return strings.TrimPrefix(version, "v")
	}
	return r.Chart.Metadata.Version
}

// Rollback brings an app back to the release of that version, or to the one
// before, and waits for it as a deploy does. A version that Helm's history does
// not hold is an error of status protocol.ExitInvalid.
func (a *adapter) Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error) {
	return a.rollback(ctx, app, target, func(d *deployment, last *release.Release) (*release.Release, error) {
		return d.chosen(last, strings.TrimPrefix(to, "v"))
	})
}

// rollback brings an app back to the revision that choose finds for the last one.
func (a *adapter) rollback(ctx context.Context, app protocol.AppSpec, target string, choose choice) (protocol.DeployResult, error) {
	d, err := a.open(app, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, a.settings.timeout)
	defer cancel()
	result, err := d.rollback(bounded, choose)
	return result, d.Explained(ctx, d.Conn, a.settings.timeout, err)
}

// controllers lists the Flux HelmReleases and the Argo CD Applications through
// which an app is delivered to a namespace. A cluster without them has none.
func controllers(ctx context.Context, client dynamic.Interface, namespace, app string) ([]status.Entry, error) {
	var releases, applications []unstructured.Unstructured
	var group errgroup.Group
	group.Go(func() (err error) { releases, err = list(ctx, client, flux.Releases); return err })
	group.Go(func() (err error) { applications, err = list(ctx, client, argo.Applications); return err })
	err := group.Wait()
	var found []status.Entry
	// What cannot be read of others' objects is not of interest.
	for _, object := range releases {
		if r, err := flux.Read(&object); err == nil && r.Delivers(namespace, app) {
			found = append(found, r.Entry())
		}
	}
	for _, object := range applications {
		if a, err := argo.New(&object); err == nil && a.Delivers(namespace, app) {
			found = append(found, a.Entry())
		}
	}
	return found, err
}

// list reads all objects of a kind; none where the kind is not served, or may not
// be read.
func list(ctx context.Context, client dynamic.Interface, of schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	all, err := client.Resource(of).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", of.Resource, err)
	}
	return all.Items, nil
}
