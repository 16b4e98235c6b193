package argocd

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fromGit fails unless there is an Application for the chart, as Git has to
// give it when harmony does not manage it.
func (d *deployment) fromGit(found *application) error {
	hint := "with the setting manage: false it comes from Git; its name is the setting application, by default {app}-{target}"
	if found == nil {
		return protocol.Unsupported("there is no %s", d.argo).WithHint("%s", hint)
	}
	if d.sourceIndex(found) >= 0 {
		return d.sameDestination(found)
	}
	var repositories []string
	for _, s := range found.Sources() {
		repositories = append(repositories, strings.TrimSuffix(s.RepoURL+" "+s.Chart, " "))
	}
	return protocol.Unsupported("%s does not take the chart from %s, but from: %s", d.argo, d.Chart.URL, strings.Join(repositories, ", ")).
		WithHint("it needs a source with repoURL: %s and path: .", d.Chart.URL)
}

// sameDestination fails when the Application goes elsewhere than to the target,
// where nothing could be proven. A cluster by name is taken at its word.
func (d *deployment) sameDestination(found *application) error {
	goes := found.Spec.Destination
	for _, p := range d.places() {
		sameCluster := goes.Server == p.Server || goes.Name != "" && (p.Name == "" || p.Name == goes.Name)
		if sameCluster && goes.Namespace == p.Namespace {
			return nil
		}
	}
	return protocol.Unsupported("%s goes to namespace %s of %s, and target %q to namespace %s of %s", d.argo,
		goes.Namespace, goes.Server+goes.Name, d.Target, d.Namespace, d.Config.Host).
		WithHint("if it is the same cluster by another name, say how Argo CD knows it with the setting destination")
}

// gitRevision is what Git wants of the chart: a digest, or a tag or range.
func (d *deployment) gitRevision(found *application) string {
	return found.Sources()[d.sourceIndex(found)].TargetRevision
}

// gitWants reports that the Application wants the chart's digest. What a tag
// means is what Argo CD last found.
func (d *deployment) gitWants(found *application) bool {
	if found == nil || d.sourceIndex(found) < 0 {
		return false
	}
	revision := d.gitRevision(found)
	if !isDigest(revision) {
		revision = api.Pick(found.Status.Sync.Revision, found.Status.Sync.Revisions, d.sourceIndex(found))
	}
	return revision == d.want.chart()
}

func isDigest(revision string) bool {
	matched, err := regexp.MatchString(`^sha256:[0-9a-f]{64}$`, revision)
	return err == nil && matched
}

// awaitGit has Argo CD look at what a tag means now, and fails when Git wants
// another digest.
func (w *work) awaitGit(ctx context.Context) error {
	if !w.gitWants(w.found) && !isDigest(w.gitRevision(w.found)) {
		if err := w.look(ctx); err != nil {
			return err
		}
		if err := w.fromGit(w.found); err != nil {
			return err
		}
	}
	if w.gitWants(w.found) {
		return nil
	}
	return protocol.Retryable("%s does not want this release yet: Git has targetRevision %s, which is not %s", w.argo, w.gitRevision(w.found), w.want.chart()).
		WithHint("set targetRevision to %s in Git, and run again when Argo CD has taken it over", w.want.chart())
}

// unwrapped is the error inside of a refusal: nothing was written that could be
// taken back.
func unwrapped(err error) error {
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.error
	}
	return err
}
