package helm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"

	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// record is what a revision was made from. It is kept as annotations of the
// chart inside of Helm's own release: a rollback brings back the record along
// with what it is about, and an upgrade by plain helm has none. Labels of the
// release would be inherited by such an upgrade and then lie.
type record struct {
	// chart and image are digests; values is that of the values. images are the further
	// images, as their mark has them.
	chart, image, images, values string
}

func (r record) write(annotations map[string]string) {
	annotations[marks.Chart] = r.chart
	annotations[marks.Image] = r.image
	if r.images != "" {
		annotations[marks.Images] = r.images
	}
	annotations[marks.Values] = r.values
}

// erase takes a record away.
func erase(annotations map[string]string) {
	for _, mark := range []string{marks.Chart, marks.Image, marks.Images, marks.Values} {
		delete(annotations, mark)
	}
}

// recordOf is the record of a revision; all empty when harmony did not make it.
func recordOf(r *release.Release) record {
	if r == nil || r.Chart == nil || r.Chart.Metadata == nil {
		return record{}
	}
	a := r.Chart.Metadata.Annotations
	return record{chart: a[marks.Chart], image: a[marks.Image], images: a[marks.Images], values: a[marks.Values]}
}

// last is the newest revision of a release, or nil. Only that one is
// read, where Helm would read and unpack the whole history.
func (d *deployment) last(ctx context.Context) (*release.Release, error) {
	name := d.App.Name
	client, err := metadata.NewForConfig(d.Config)
	if err != nil {
		return nil, err
	}
	list, err := client.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(d.Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: releaseSelector(name)})
	if err != nil {
		return nil, fmt.Errorf("read release %s: %w", name, err)
	}
	newest := 0
	for _, secret := range list.Items {
		revision, err := strconv.Atoi(secret.Labels["version"])
		if err != nil {
			return nil, fmt.Errorf("read release %s: secret %s has no revision: %w", name, secret.Name, err)
		}
		newest = max(newest, revision)
	}
	if newest == 0 {
		return nil, nil
	}
	found, err := d.config.Releases.Get(name, newest)
	if err != nil {
		return nil, fmt.Errorf("read release %s revision %d: %w", name, newest, err)
	}
	return found, nil
}

// releaseSelector selects the Secrets in which Helm keeps a release.
func releaseSelector(name string) string {
	return labels.SelectorFromSet(labels.Set{"owner": "helm", "name": name}).String()
}

// imageOf is the image with the digest in a revision.
func imageOf(r *release.Release, digest string) (protocol.ImageRef, error) {
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	for _, image := range manifest.Images(objects) {
		if manifest.Uses([]string{image}, digest) {
			return protocol.ParseImageRef(image)
		}
	}
	return protocol.ImageRef{}, fmt.Errorf("revision %d of release %s has no container with the image %s", r.Version, r.Name, digest)
}

// proven reports whether the images are what runs in the pods of the revision.
func (d *deployment) proven(ctx context.Context, r *release.Release, snapshots []rollout.Snapshot) (bool, error) {
	if d.prover == nil {
		return true, nil
	}
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return false, err
	}
	return d.prover.Proven(ctx, proof.Objects{Applied: objects, Hooks: delivery.Hooks(r)}, snapshots)
}

// tellUnproven says of an app without an image which of the images of a revision no
// digest is known of.
func (d *deployment) tellUnproven(r *release.Release) error {
	if d.prover == nil {
		return nil
	}
	objects, err := manifest.Parse(r.Manifest)
	if err == nil {
		d.TellUnproven(objects)
	}
	return err
}

// foreignAge is how old a pending revision of plain helm, which takes no lease,
// must be to be given up.
const foreignAge = 5 * time.Minute

// free is the last revision once nobody works on it. One that a process left
// half done is mended.
func (d *deployment) free(ctx context.Context, inherited bool) (*release.Release, error) {
	for {
		last, err := d.last(ctx)
		if err != nil || last == nil || !last.Info.Status.IsPending() && last.Info.Status != release.StatusUninstalling {
			return last, err
		}
		// An install or upgrade of harmony was made under the lease, which is ours
		// now: its process is gone. A rollback may be plain helm's, to a revision of
		// harmony.
		status := last.Info.Status
		left := recordOf(last) != record{} && (status == release.StatusPendingInstall || status == release.StatusPendingUpgrade)
		age := time.Since(last.Info.LastDeployed.Time)
		if inherited || left || age > foreignAge {
			return d.mend(ctx, last)
		}
		d.Say("wait", "release %s is %s by helm", d.App.Name, last.Info.Status)
		err = lease.AwaitChange(ctx, foreignAge-age, func(ctx context.Context) (watch.Interface, error) {
			return d.Client.CoreV1().Secrets(d.Namespace).Watch(ctx, metav1.ListOptions{LabelSelector: releaseSelector(d.App.Name)})
		})
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, protocol.Retryable("release %s is %s since %s, by a helm that may still be at work", d.App.Name, last.Info.Status, last.Info.LastDeployed.Format(time.TimeOnly)).
				WithHint("wait for it to end; after %s harmony takes the release to be abandoned", foreignAge)
		}
		if err != nil {
			return nil, err
		}
	}
}

// mend records a half-done revision as failed, as Helm itself does with one
// that is interrupted. When it was about something else than is wanted now, the
// release is also rolled back, so that nothing of it is left behind; the same
// again is simply gone on with. A release that was never deployed needs no
// rollback: Helm starts from its failed revision.
func (d *deployment) mend(ctx context.Context, last *release.Release) (*release.Release, error) {
	d.Say("mend", "release %s was left %s", d.App.Name, last.Info.Status)
	last.SetStatus(release.StatusFailed, fmt.Sprintf("harmony: left %s by a process that is gone", last.Info.Status))
	if err := d.config.Releases.Update(last); err != nil {
		return nil, fmt.Errorf("mend release %s: %w", d.App.Name, err)
	}
	if recordOf(last) == d.want {
		return last, nil
	}
	deployed, err := d.deployed()
	if err != nil || deployed == nil {
		return last, err
	}
	d.autoscaling(ctx)
	rollback := action.NewRollback(d.config)
	rollback.Version, rollback.DisableHooks, rollback.MaxHistory = deployed.Version, true, d.settings.maxHistory
	if err := rollback.Run(d.App.Name); err != nil {
		return nil, fmt.Errorf("roll release %s back to revision %d, to mend it: %w", d.App.Name, deployed.Version, err)
	}
	return d.last(ctx)
}
