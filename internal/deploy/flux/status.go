package flux

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/chart/file"
	deployvalues "github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/reason"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The conditions of a HelmRelease in addition to those that all objects of Flux have,
// and the reason that means a rollback.
const (
	releasedCondition   = "Released"
	remediatedCondition = "Remediated"
	rollbackSucceeded   = "RollbackSucceeded"
)

// isOf reports that the chart's version, to which Flux adds the beginning of the
// digest, is that of the digest.
func isOf(chartVersion, digest string) bool {
	_, build, found := strings.Cut(chartVersion, "+")
	return found && strings.HasPrefix(digest, "sha256:"+build)
}

// seen is an object of Flux as it was read; the zero value is one that does not
// exist.
type seen struct{ api.Seen }

func (s seen) exists() bool { return s.Unstructured != nil }

func newSeen(object *unstructured.Unstructured) (seen, error) {
	read, err := api.Read(object)
	return seen{read}, err
}

func (s seen) is(kind string) bool {
	c := s.Condition(kind)
	return c != nil && c.Status == metav1.ConditionTrue
}

// message is the current message of the object's conditions.
func (s seen) message() string {
	var said []string
	for _, kind := range []string{meta.StalledCondition, releasedCondition, meta.ReadyCondition, meta.ReconcilingCondition} {
		c := s.Condition(kind)
		switch {
		case c == nil || c.Message == "" || kind == releasedCondition && c.Status == metav1.ConditionTrue:
		case kind == releasedCondition:
			said = append(said, c.Message)
		case len(said) == 0 || kind == meta.StalledCondition:
			said = append(said, c.Message)
		}
	}
	if len(said) == 0 {
		return "it has no status yet"
	}
	return strings.Join(said, ": ")
}

type verdict struct {
	// done is true when the object is as wanted, and failed when Flux gave up.
	done, failed bool
	// refused is true while a source cannot be fetched, for whatever reason.
	refused bool
	// rolledBack is true when Flux rolled back to the previous revision.
	rolledBack bool
}

// settled reports that the current generation is ready and nothing is in progress.
func (s seen) settled() bool {
	return s.Status.ObservedGeneration == s.GetGeneration() && s.is(meta.ReadyCondition) && !s.is(meta.ReconcilingCondition)
}

// progressing reports that Flux is working on the present generation, and not
// for another time after a failure.
func (s seen) progressing() bool {
	ready := s.Condition(meta.ReadyCondition)
	return s.is(meta.ReconcilingCondition) && (ready == nil || ready.Status != metav1.ConditionFalse) && !s.failing()
}

// plainHTTP is what is said of a registry that does not speak https.
var plainHTTP = regexp.MustCompile(`malformed HTTP|server gave HTTP response`)

// judgeSource looks for the chart of the digest in an OCIRepository. It has
// failed only in answer to the request with the token: what it says before may be
// about an earlier generation, whatever generation it names.
func judgeSource(s seen, digest, token string) verdict {
	ready := s.Condition(meta.ReadyCondition)
	refused := handled(s, token) && ready != nil && ready.Status == metav1.ConditionFalse
	final := refused && (reason.Final(ready.Message) || plainHTTP.MatchString(ready.Message))
	return verdict{
		done:    s.settled() && s.Status.Artifact != nil && strings.HasSuffix(s.Status.Artifact.Revision, digest),
		failed:  handled(s, token) && s.is(meta.StalledCondition) || final,
		refused: refused,
	}
}

// handled reports that the controller has answered to the request with the token;
// an empty one asks for no answer.
func handled(s seen, token string) bool {
	return token == "" || s.Status.LastHandledReconcileAt == token
}

// judgeRelease looks for the chart of the digest in a HelmRelease, as the answer
// to the request with the token.
func judgeRelease(s seen, digest, token string) verdict {
	if !handled(s, token) {
		return verdict{}
	}
	remediated := s.Condition(remediatedCondition)
	return verdict{
		done:       s.settled() && s.digest() == digest,
		failed:     s.is(meta.StalledCondition),
		rolledBack: remediated != nil && remediated.Status == metav1.ConditionTrue && remediated.Reason == rollbackSucceeded,
	}
}

// digest is that of the chart in force.
func (s seen) digest() string {
	if len(s.Status.History) > 0 && s.Status.History[0].OCIDigest != "" {
		return s.Status.History[0].OCIDigest
	}
	return s.Status.LastAttemptedRevisionDigest
}

// inForce is the digest of the chart of the newest revision, also of one that
// Flux rolled back to; "" when it is not known. Flux forgets it when it rolls back,
// so that it is also kept in an annotation.
func (s seen) inForce() string {
	if len(s.Status.History) == 0 {
		return ""
	}
	newest := s.Status.History[0]
	if newest.OCIDigest != "" {
		return newest.OCIDigest
	}
	for _, r := range s.Status.History[1:] {
		if r.OCIDigest != "" && r.ChartVersion == newest.ChartVersion {
			return r.OCIDigest
		}
	}
	if before := s.GetAnnotations()[marks.ChartBefore]; isOf(newest.ChartVersion, before) {
		return before
	}
	return ""
}

// refused reports that Flux cannot do what is asked, without a revision later
// than one to show for it: it tries again, but for nothing unless somebody
// changes something.
func (s seen) refused(after int) bool {
	ready := s.Condition(meta.ReadyCondition)
	if ready == nil || ready.Status != metav1.ConditionFalse || s.revision() > after {
		return false
	}
	switch ready.Reason {
	case "InstallFailed", "UpgradeFailed", "ArtifactFailed", "ValuesError", "ChartMutateError", "RESTClientError", "FactoryError":
		return !reason.Passes(ready.Message)
	case "StateError": // it cannot read the release: the API server is away, or does not allow it
		return strings.Contains(ready.Message, "is forbidden")
	}
	return false
}

// failing reports that the release has failed and Flux is about to remediate it.
func (s seen) failing() bool {
	c := s.Condition(releasedCondition)
	return c != nil && c.Status == metav1.ConditionFalse
}

// revision is the newest one that Flux knows; 0 when there is none.
func (s seen) revision() int {
	if len(s.Status.History) == 0 {
		return 0
	}
	return s.Status.History[0].Version
}

// stored is a revision in Helm's storage, which Flux writes, with the objects
// that it is made of.
type stored struct {
	version   int
	objects   []*unstructured.Unstructured
	workloads []rollout.Workload
	hooks     []*unstructured.Unstructured
	// hasHooks is true when something runs before the objects are applied.
	hasHooks bool
	// irreversible is that of the chart.
	irreversible string
}

// proof are the objects as a proof takes them.
func (r *stored) proof() proof.Objects {
	return proof.Objects{Applied: r.objects, Hooks: func(context.Context) ([]*unstructured.Unstructured, error) { return r.hooks, nil }}
}

// images are those of the further images that the revision pins.
func (r *stored) images(images map[string]protocol.ImageRef) map[string]protocol.ImageRef {
	return proof.ImagesIn(slices.Concat(r.objects, r.hooks), images)
}

// storage is Helm's own, in the namespace that Flux keeps it in.
func (d *deployment) storage(s seen) *driver.Secrets {
	return driver.NewSecrets(d.Client.CoreV1().Secrets(cmp.Or(s.Status.StorageNamespace, d.Namespace)))
}

// query lists the revisions of the release in Helm's storage, of one status where
// that is given.
func (d *deployment) query(s seen, status release.Status) ([]*release.Release, error) {
	labels := map[string]string{"name": d.App.Name, "owner": "helm"}
	if status != "" {
		labels["status"] = status.String()
	}
	found, err := d.storage(s).Query(labels)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		err = fmt.Errorf("read release %s: %w", d.App.Name, err)
	}
	return found, err
}

// read is a revision of the release; nil when Helm's storage does not have it.
func (d *deployment) read(ctx context.Context, s seen, version int) (*stored, error) {
	found, err := delivery.Retried(ctx, d.survive, func(context.Context) (*release.Release, error) {
		return d.storage(s).Get(fmt.Sprintf("sh.helm.release.v1.%s.v%d", d.App.Name, version))
	})
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read revision %d of release %s: %w", version, d.App.Name, err)
	}
	return d.storedOf(found)
}

// pending is the revision that Flux is working on, if it is ours and later than
// one.
func (d *deployment) pending(s seen, after int) (*stored, error) {
	for _, status := range []release.Status{release.StatusPendingInstall, release.StatusPendingUpgrade} {
		found, err := d.query(s, status)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if r.Version > after && d.isWanted(r) {
				return d.storedOf(r)
			}
		}
	}
	return nil, nil
}

// newest is the last revision in Helm's storage, however it ended; nil when there
// is none.
func (d *deployment) newest(s seen) (*stored, error) {
	found, err := d.query(s, "")
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return d.storedOf(slices.MaxFunc(found, func(a, b *release.Release) int { return a.Version - b.Version }))
}

// isWanted reports whether a revision was made from our chart and values.
func (d *deployment) isWanted(r *release.Release) bool {
	if version := r.Chart.Metadata.Version; strings.Contains(version, "+") && !isOf(version, d.Chart.Digest) {
		return false
	}
	return sameValues(r.Config, d.Values.All)
}

func sameValues(a, b map[string]any) bool {
	one, err := deployvalues.Digest(a)
	other, failed := deployvalues.Digest(b)
	return err == nil && failed == nil && one == other
}

func (d *deployment) storedOf(r *release.Release) (*stored, error) {
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return nil, fmt.Errorf("revision %d of release %s: %w", r.Version, r.Name, err)
	}
	workloads, err := rollout.Workloads(objects, d.Namespace)
	if err != nil {
		return nil, fmt.Errorf("revision %d of release %s: %w", r.Version, r.Name, err)
	}
	stepwise, err := rollout.Progressive(context.Background(), objects, d.Space(), nil)
	if err != nil {
		return nil, fmt.Errorf("revision %d of release %s: %w", r.Version, r.Name, err)
	}
	workloads = append(workloads, stepwise...)
	hooks, err := delivery.Hooks(r)(context.Background())
	if err != nil {
		return nil, fmt.Errorf("hooks of revision %d of release %s: %w", r.Version, r.Name, err)
	}
	irreversible := file.Irreversible(r.Chart, slices.Concat(objects, hooks))
	return &stored{version: r.Version, objects: objects, workloads: workloads, hooks: hooks, hasHooks: len(r.Hooks) > 0, irreversible: irreversible}, nil
}

// standing is what is in force: the newest revision that Flux knows of, or what
// another tool installed under the name, which Flux takes over.
func (d *deployment) standing(ctx context.Context, s seen) (standing, error) {
	if !s.exists() || s.revision() == 0 {
		found, err := d.query(s, release.StatusDeployed)
		if err != nil || len(found) == 0 {
			return standing{}, err
		}
		r, err := d.storedOf(found[0])
		if err != nil {
			return standing{}, err
		}
		return standing{revision: r.version, image: proof.DigestIn(r.objects, d.Image), images: r.images(d.Image.Images)}, nil
	}
	now := standing{revision: s.revision(), chart: s.inForce()}
	r, err := d.read(ctx, s, now.revision)
	if err != nil || r == nil {
		return now, err
	}
	now.image, now.images = proof.DigestIn(r.objects, d.Image), r.images(d.Image.Images)
	return now, nil
}
