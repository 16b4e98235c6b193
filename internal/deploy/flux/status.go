package flux

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
)

// The conditions of a HelmRelease beside those that all objects of Flux have,
// and the reason that tells a rollback.
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

// message is what the object says of itself now.
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

// verdict is how far an object is.
type verdict struct {
	// done is true when the object is as wanted, and failed when Flux gave up.
	done, failed bool
	// refused is true while a source cannot be fetched, for whatever reason.
	refused bool
	// rolledBack is true when Flux went back to the revision before.
	rolledBack bool
}

// settled reports that the present generation is ready and nothing goes on.
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
	final := refused && (rollout.IsFinal(ready.Message) || plainHTTP.MatchString(ready.Message))
	return verdict{
		done:    s.settled() && holds(s, digest),
		failed:  handled(s, token) && s.is(meta.StalledCondition) || final,
		refused: refused,
	}
}

// holds reports that the source has fetched the chart of the digest.
func holds(source seen, digest string) bool {
	return source.Status.Artifact != nil && strings.HasSuffix(source.Status.Artifact.Revision, digest)
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
	return slices.Contains(refusals, ready.Reason) && !rollout.Passes(ready.Message) || ready.Reason == stateError && strings.Contains(ready.Message, "is forbidden")
}

// stateError is helm-controller's reason when it cannot read a release: the API
// server is away, or does not allow it.
const stateError = "StateError"

// refusals are helm-controller's reasons for not being ready before there is a
// revision.
var refusals = []string{"InstallFailed", "UpgradeFailed", "ArtifactFailed", "ValuesError", "ChartMutateError", "RESTClientError", "FactoryError"}

// failing reports that the release has failed and Flux is about to mend it.
func (s seen) failing() bool {
	c := s.Condition(releasedCondition)
	return c != nil && c.Status == metav1.ConditionFalse
}

// revision is the newest one that Flux knows of; 0 when there is none.
func (s seen) revision() int {
	if len(s.Status.History) == 0 {
		return 0
	}
	return s.Status.History[0].Version
}
