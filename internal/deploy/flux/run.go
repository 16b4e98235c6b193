package flux

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
	"github.com/nationtech/harmony/pkg/protocol"
)

// part is one of the two objects: as wanted, as seen, and whether to write it.
type part struct {
	resource schema.GroupVersionResource
	want     *unstructured.Unstructured
	seen     seen
	differs  bool
	// adopted is an object of somebody else that is to be taken over.
	adopted bool
}

type parts struct{ source, release part }

// run reads the objects and does what is missing.
func (d *deployment) run(ctx context.Context) (protocol.DeployResult, error) {
	if err := namespace.Check(ctx, d.Client, d.Namespace); err != nil {
		return protocol.DeployResult{}, err
	}
	now, err := d.compare(ctx)
	if errors.Is(err, errDeleting) && !d.DryRun {
		return d.change(ctx, now.release.seen) // which waits until it is gone
	}
	if err != nil {
		return protocol.DeployResult{}, err
	}
	settled, err := d.settled(ctx, now)
	switch {
	case err != nil:
		return protocol.DeployResult{}, err
	case settled:
		return d.unchanged(now.release.seen), nil
	}
	if err := d.mayReplace(now.release); err != nil {
		return protocol.DeployResult{}, err
	}
	return d.change(ctx, now.release.seen)
}

// mayReplace fails for a HelmRelease of harmony's own that wants a newer version, unless
// it is rolled back.
func (d *deployment) mayReplace(p part) error {
	if d.back || !p.seen.exists() || p.adopted || d.isForeign(p.seen) {
		return nil
	}
	return d.MayReplace(p.seen.GetAnnotations()[marks.Version])
}

// unchanged is the result when nothing is to be done. Drift that is only
// reported stands in it.
func (d *deployment) unchanged(s seen) protocol.DeployResult {
	now := d.wanted(s.revision())
	return delivery.Reported(d.Progress, d.result(protocol.OutcomeUnchanged, now, now), d.drifted)
}

// outcome is what was done, by the revisions before and after.
func outcome(before, after standing) protocol.Outcome {
	switch before.revision {
	case 0:
		return protocol.OutcomeInstalled
	case after.revision:
		return protocol.OutcomeUnchanged
	}
	return protocol.OutcomeUpgraded
}

// compare reads both objects and sees whether they are as wanted, and ours to
// change.
func (d *deployment) compare(ctx context.Context) (parts, error) {
	source, err := d.wantedSource()
	if err != nil {
		return parts{}, err
	}
	p := parts{source: part{resource: sources, want: source}, release: part{resource: releases}}
	if p.source.seen, p.release.seen, err = d.look(ctx); err != nil {
		return parts{}, err
	}
	if p.release.want, err = d.wantedRelease(p.release.seen); err != nil {
		return parts{}, err
	}
	if d.isForeign(p.release.seen) {
		return p, d.useForeign(ctx, &p)
	}
	if p.release.adopted, err = d.adopts(ctx, p.release.seen); err != nil {
		return parts{}, err
	}
	if p.release.seen.exists() {
		api.CarryReplicas(p.release.seen.Unstructured, p.release.want)
	}
	for _, one := range []part{p.source, p.release} {
		if err := d.mayTouch(one.seen, one.want); err != nil {
			return parts{}, err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.differs(ctx, &p.source) })
	group.Go(func() error { return d.differs(ctx, &p.release) })
	return p, group.Wait()
}

// differs asks the server what applying would change: it also knows of fields
// that were wanted earlier and are not any more.
func (d *deployment) differs(ctx context.Context, p *part) error {
	if !p.seen.exists() || d.isForeign(p.seen) {
		p.differs = !p.seen.exists()
		return nil
	}
	if d.DryRun && d.Chart.Digest == "" {
		p.differs = true // the digest is not known before it is published
		return nil
	}
	if p.adopted {
		p.differs = true
		return d.tried(ctx, *p)
	}
	made, err := d.apply(ctx, p.resource, p.want, d.settings.force, true)
	p.differs = err == nil && !reflect.DeepEqual(made.Object["spec"], p.seen.Object["spec"])
	return err
}

// settled reports that there is nothing to do: both objects are as wanted, Flux
// has done with them, and the image runs.
func (d *deployment) settled(ctx context.Context, p parts) (bool, error) {
	if p.source.differs || p.release.differs ||
		!judgeSource(p.source.seen, d.Chart.Digest, "").done || !judgeRelease(p.release.seen, d.Chart.Digest, "").done {
		return false, nil
	}
	if there, err := d.valuesThere(ctx, p.release); err != nil || !there {
		return false, err
	}
	r, err := d.read(ctx, p.release.seen, p.release.seen.revision())
	if err != nil || r == nil {
		return false, err
	}
	if d.drifted, err = d.drift(ctx, r); err != nil {
		return false, err
	}
	// What runs in the image's place, and what else somebody changed, is for Flux
	// to mend, which is then asked to.
	runs, err := d.Runs(ctx, r.workloads, r.proof())
	return runs && (len(d.drifted) == 0 || d.settings.reportDrift), err
}

// drift names the objects of a revision that were changed by others. Flux leaves
// alone those that are marked, and the fields that the topology names.
func (d *deployment) drift(ctx context.Context, r *stored) ([]string, error) {
	const mark = "helm.toolkit.fluxcd.io/driftDetection" // an annotation or a label
	objects := slices.DeleteFunc(slices.Clone(r.objects), func(o *unstructured.Unstructured) bool {
		return cmp.Or(o.GetAnnotations()[mark], o.GetLabels()[mark]) == "disabled"
	})
	return drift.Finder{Space: d.Space(), Ignore: d.settings.driftIgnore}.Find(ctx, objects)
}

// change writes the wanted objects, under the lease.
func (d *deployment) change(ctx context.Context, now seen) (protocol.DeployResult, error) {
	c := d.lock(d.changeHeld)
	c.Plan = func(ctx context.Context) (protocol.DeployResult, error) {
		before, err := d.standing(ctx, now)
		return d.result(outcome(before, standing{}), d.wanted(before.revision), before), err
	}
	c.Prepare = func(ctx context.Context) error { return namespace.Wanted{Name: d.Namespace}.Ensure(ctx, d.Client) }
	return c.Run(ctx, ctx)
}

func (d *deployment) lock(work func(context.Context) (protocol.DeployResult, error)) delivery.Change {
	c := d.Lock(d.Cluster, d.Namespace, d.App.Name, "release "+d.App.Name)
	c.Retry = d.survive
	c.Work = func(ctx context.Context, _ bool) (protocol.DeployResult, error) { return work(ctx) }
	return c
}

// changeHeld does the work of change under the lease. Another process may have
// done it meanwhile.
func (d *deployment) changeHeld(ctx context.Context) (protocol.DeployResult, error) {
	var now parts
	var settled bool
	err := d.survive(ctx, func() (err error) {
		if now, err = d.compare(ctx); err == nil {
			settled, err = d.settled(ctx, now)
		}
		return err
	})
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if settled {
		return d.unchanged(now.release.seen), nil
	}
	if err := d.mayReplace(now.release); err != nil {
		return protocol.DeployResult{}, err
	}
	if len(d.drifted) > 0 {
		message := strings.Join(d.drifted, ", ")
		if !d.settings.reportDrift {
			message += ": Flux is asked to mend it"
		}
		d.Say("drift", "%s", message)
	}
	if err := d.checked(ctx, &now); err != nil {
		return protocol.DeployResult{}, err
	}
	before, err := d.standing(ctx, now.release.seen)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	old, err := d.generations(ctx, now.release.seen)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	token, err := d.write(ctx, &now, before)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	return d.follow(ctx, now.release.seen, token, before, old)
}

// write brings both objects to what is wanted, and asks Flux to reconcile them. The
// HelmRelease is only touched once its chart is there.
func (d *deployment) write(ctx context.Context, p *parts, before standing) (token string, err error) {
	if !p.source.differs && !p.release.differs && judgeSource(p.source.seen, d.Chart.Digest, "").done && p.release.seen.progressing() {
		// Flux is at it, for a process that was killed or for itself.
		return "", d.putValues(ctx, p.release)
	}
	isNew := !p.source.seen.exists()
	if p.source.differs {
		if p.source.seen, err = d.put(ctx, p.source, d.settings.force); err != nil {
			return "", err
		}
	}
	if err := d.fetched(ctx, p.source, isNew); err != nil {
		return "", err
	}
	if p.release.adopted {
		if err := d.own(ctx, &p.release); err != nil {
			return "", err
		}
	}
	if !p.release.seen.exists() || !d.isForeign(p.release.seen) {
		token = newToken()
	}
	if err := d.putValues(ctx, p.release); err != nil {
		return "", err
	}
	isNew = !p.release.seen.exists()
	if err := d.request(ctx, &p.release, token, before); err != nil || !isNew {
		return token, err
	}
	return token, d.putValues(ctx, p.release) // now it has an owner
}

func (d *deployment) put(ctx context.Context, p part, force bool) (seen, error) {
	d.Progress(protocol.Event{Phase: "apply", Message: seen{api.Seen{Unstructured: p.want}}.String()})
	return delivery.Retried(ctx, d.survive, func(ctx context.Context) (seen, error) {
		return d.apply(ctx, p.resource, p.want, force, false)
	})
}

// request brings the HelmRelease to what is wanted and asks helm-controller to
// look at it, in one write: a request that came after the change would be another
// one, and have it try twice what fails. The annotations are taken from whoever
// set them last; that nobody else's fields are in the way the server has said
// before. One of somebody else has no token: it is not ours to write to.
func (d *deployment) request(ctx context.Context, p *part, token string, before standing) error {
	if token == "" {
		return nil
	}
	// With resetAt, helm-controller forgets earlier failures, which would keep it from
	// trying again.
	annotations := map[string]string{
		meta.ReconcileRequestAnnotation: token, "reconcile.fluxcd.io/resetAt": token,
		marks.Image: d.PinnedImage(), marks.Version: d.App.Version,
	}
	if had := p.seen.exists() && p.seen.GetAnnotations()[marks.Images] != ""; had || len(d.Image.Images) > 0 {
		annotations[marks.Images] = marks.WriteImages(d.Image.Images)
	}
	if before.chart != "" {
		annotations[marks.ChartBefore] = before.chart
	}
	if d.takenBack != "" {
		annotations[marks.TakenBack] = d.takenBack
	}
	if !p.differs {
		return d.annotate(ctx, releases, p.seen, annotations)
	}
	asked := *p
	asked.want = p.want.DeepCopy()
	asked.want.SetAnnotations(annotations)
	made, err := d.put(ctx, asked, true)
	if err == nil {
		p.seen = made
	}
	return err
}
