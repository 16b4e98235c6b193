package flux

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Rollback has Flux release the chart and the values of an earlier revision
// again: of the version, or of the last one before what is in force when to is
// empty. It is followed and proven as a deploy is. A version that Helm's history
// does not hold is an error of status protocol.ExitInvalid.
func (a *adapter) Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error) {
	return a.rollback(ctx, app, target, func(ctx context.Context, d *deployment, current, source seen) (*release.Release, error) {
		return d.chosen(ctx, current, source, strings.TrimPrefix(to, "v"))
	})
}

// choice finds the revision to go back to; source is the chart that is asked for now.
type choice func(ctx context.Context, d *deployment, current, source seen) (*release.Release, error)

// rollback brings an app back to the revision that choose finds.
func (a *adapter) rollback(ctx context.Context, app protocol.AppSpec, target string, choose choice) (protocol.DeployResult, error) {
	d, err := a.open(app, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if registry := a.Env.Topology.OCIRegistry; registry != nil && !app.Image.IsNone() {
		d.Image, err = app.PublishedImage(registry.URL)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		d.Image.Insecure = registry.Insecure
	}
	return d.bounded(ctx, func(ctx context.Context) (protocol.DeployResult, error) {
		return d.rollback(ctx, choose)
	})
}

// rollback rolls back under the lease, or plans it in a dry run.
func (d *deployment) rollback(ctx context.Context, choose choice) (protocol.DeployResult, error) {
	if _, err := d.existing(ctx); err != nil {
		return protocol.DeployResult{}, err
	}
	work := func(ctx context.Context) (protocol.DeployResult, error) { return d.rollbackHeld(ctx, choose) }
	c := d.lock(work)
	c.Plan = work
	return c.Run(ctx, ctx)
}

// existing is the HelmRelease, which must be there.
func (d *deployment) existing(ctx context.Context) (seen, error) {
	s, err := d.get(ctx, releases, d.Namespace, d.App.Name)
	if err == nil && !s.exists() {
		err = protocol.Invalid("there is no HelmRelease %s/%s", d.Namespace, d.App.Name)
	}
	return s, err
}

// rollbackHeld makes the deployment that of an earlier revision, and carries it
// out.
func (d *deployment) rollbackHeld(ctx context.Context, choose choice) (protocol.DeployResult, error) {
	current, err := d.existing(ctx)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if d.isForeign(current) {
		return protocol.DeployResult{}, &protocol.Error{
			Code: protocol.ExitFailed, Message: fmt.Sprintf("%s was made by %s, not by harmony", current, strings.Join(delivery.Managers(current.Unstructured), ", ")),
			Hint: "roll it back where it comes from, or take it over with harmony adopt",
		}
	}
	if err := d.mayTouch(current, current.Unstructured); err != nil {
		return protocol.DeployResult{}, err
	}
	source, err := d.sourceOf(ctx, current)
	if err == nil && !source.exists() {
		name, _, _ := unstructured.NestedString(current.Object, "spec", "chartRef", "name")
		err = fmt.Errorf("%s names an OCIRepository %s that does not exist", current, name)
	}
	if err != nil {
		return protocol.DeployResult{}, err
	}
	earlier, err := choose(ctx, d, current, source)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if err := d.become(ctx, current, source, earlier); err != nil {
		return protocol.DeployResult{}, err
	}
	d.Say("rollback", "to version %s of revision %d, chart %s", d.App.Version, earlier.Version, d.Chart.Digest)
	if d.DryRun {
		before, err := d.standing(ctx, current)
		return d.result(protocol.OutcomeRolledBack, d.wanted(earlier.Version), before), err
	}
	result, err := d.changeHeld(ctx)
	if err == nil && result.Outcome == protocol.OutcomeUpgraded {
		result.Outcome, result.Irreversible = protocol.OutcomeRolledBack, ""
	}
	return result, err
}

// chosen is the revision to go back to: the newest one of the version, or the
// newest one that came into force before and is something else than what is. Where
// Flux has already rolled back by itself, that revision is chosen.
func (d *deployment) chosen(ctx context.Context, current, source seen, to string) (*release.Release, error) {
	history, err := d.query(current, "")
	if err != nil {
		return nil, err
	}
	given, err := d.givenValues(ctx, current)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(history, func(a, b *release.Release) int { return b.Version - a.Version })
	var now *release.Release
	for _, r := range history {
		if r.Version == current.revision() {
			now = r
		}
	}
	if to == "" && now != nil && now.Info.Status == release.StatusDeployed && !isWanted(given, source, now) {
		return now, nil
	}
	var versions []string
	for _, r := range history {
		if r.Info.Status != release.StatusDeployed && r.Info.Status != release.StatusSuperseded {
			continue
		}
		versions = append(versions, fmt.Sprintf("%s (revision %d)", versionOf(r), r.Version))
		if to != "" && versionOf(r) == to || to == "" && now != nil && r.Version < now.Version && !same(r, now) {
			return r, nil
		}
	}
	what := "no earlier revision that was in force"
	if to != "" {
		what = "no revision with version " + to
	}
	return nil, protocol.Invalid("release %s has %s in its history", d.App.Name, what).WithHint("its history has: %s", strings.Join(versions, ", "))
}

// isWanted reports that a revision is of the chart of the source and of the values.
func isWanted(values map[string]any, source seen, r *release.Release) bool {
	digest, _, _ := unstructured.NestedString(source.Object, "spec", "ref", "digest")
	return (sameValues(values, r.Config) || len(values)+len(r.Config) == 0) && isOf(r.Chart.Metadata.Version, digest)
}

// same reports two revisions of one chart and of the same values.
func same(a, b *release.Release) bool {
	return sameValues(a.Config, b.Config) && a.Chart.Metadata.Version == b.Chart.Metadata.Version
}

// versionOf is the app's version, which publish writes into the chart; Flux adds
// the beginning of the digest to the chart's own.
func versionOf(r *release.Release) string {
	if version := r.Chart.Metadata.AppVersion; version != "" {
		return strings.TrimPrefix(version, "v")
	}
	version, _, _ := strings.Cut(r.Chart.Metadata.Version, "+")
	return version
}

// become makes the deployment that of a revision.
func (d *deployment) become(ctx context.Context, current, source seen, r *release.Release) error {
	made, err := d.storedOf(r)
	if err != nil {
		return err
	}
	if d.Image, err = d.imageIn(current, made); err != nil {
		return fmt.Errorf("revision %d of release %s: %w", r.Version, r.Name, err)
	}
	if d.Chart, err = d.chartOf(ctx, current, source, r); err != nil {
		return err
	}
	if err := d.useRevision(ctx, current, r.Config); err != nil {
		return err
	}
	d.App.Version, d.back = versionOf(r), true
	return nil
}

// imageIn finds the app's image among those of a revision: it is of the
// repository that the HelmRelease names now, or else the topology. Further images
// that the HelmRelease names and the revision does not have are not its.
func (d *deployment) imageIn(current seen, made *stored) (protocol.ImageRef, error) {
	image, note := d.Image, current.GetAnnotations()[marks.Image]
	if note == "" && d.App.Image.IsNone() {
		return protocol.ImageRef{Metadata: d.App.Metadata}, nil
	}
	if note != "" {
		var err error
		if image, err = protocol.ParseImageRef(note); err != nil {
			return image, fmt.Errorf("%s: annotation %s: %w", current, marks.Image, err)
		}
	}
	image.Tag, image.Digest = "", proof.DigestIn(made.objects, image)
	if image.Digest == "" {
		return image, fmt.Errorf("it does not pin an image from %s", image.FullName())
	}
	image.Insecure, image.Location = d.Image.Insecure, protocol.InRegistry
	image.Images = made.images(marks.ReadImages(current.GetAnnotations()[marks.Images], image))
	return image, nil
}

// chartOf is the chart of a revision, by its digest. Flux keeps that of the last
// revisions only; of older ones the registry is asked, and believed when the
// digest begins as the chart's version says.
func (d *deployment) chartOf(ctx context.Context, current, source seen, r *release.Release) (protocol.ChartRef, error) {
	url, _, _ := unstructured.NestedString(source.Object, "spec", "url")
	insecure, _, _ := unstructured.NestedBool(source.Object, "spec", "insecure")
	digest, _, _ := unstructured.NestedString(source.Object, "spec", "ref", "digest")
	version, _, _ := strings.Cut(r.Chart.Metadata.Version, "+")
	chart := protocol.ChartRef{Metadata: d.App.Metadata, URL: url, Chart: r.Chart.Metadata.Name, ChartVersion: version, Insecure: insecure}
	known := []string{digest, current.GetAnnotations()[marks.ChartBefore]}
	for _, one := range current.Status.History {
		known = append(known, one.OCIDigest)
	}
	for _, one := range known {
		if isOf(r.Chart.Metadata.Version, one) {
			chart.Digest = one
			return chart, nil
		}
	}
	var err error
	if chart.Digest, err = published(ctx, chart); err != nil {
		return chart, fmt.Errorf("find the chart of revision %d: %w", r.Version, err)
	}
	if !isOf(r.Chart.Metadata.Version, chart.Digest) {
		return chart, protocol.Invalid("the chart of revision %d, %s, is not published any more: %s:%s is %s", r.Version, r.Chart.Metadata.Version, url, version, chart.Digest).
			WithHint("release that version again")
	}
	return chart, nil
}

// published asks the registry for the digest of a chart version.
func published(ctx context.Context, chart protocol.ChartRef) (string, error) {
	ref, err := name.NewTag(strings.TrimPrefix(chart.URL, "oci://")+":"+protocol.TagOf(chart.ChartVersion), auth.Naming(chart.Insecure)...)
	if err != nil {
		return "", err
	}
	found, err := remote.Head(ref, auth.Options(ctx, ref, chart.Insecure)...)
	if err != nil {
		return "", err
	}
	return found.Digest.String(), nil
}
