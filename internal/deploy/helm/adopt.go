package helm

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// isOurs reports a revision that harmony made.
func isOurs(r *release.Release) bool {
	return recordOf(r) != record{} || strings.HasPrefix(r.Info.Description, describedByUs)
}

// isForeign reports a release that somebody else made: none of its revisions is
// harmony's. One that harmony made and plain helm upgraded since is not.
func (d *deployment) isForeign(last *release.Release) (bool, error) {
	if isGone(last) || isOurs(last) {
		return false, nil
	}
	history, err := d.history()
	return !slices.ContainsFunc(history, isOurs), err
}

// mayReplace fails for a release of harmony's own that is newer.
func (d *deployment) mayReplace(last *release.Release) error {
	if isGone(last) {
		return nil
	}
	return d.MayReplace(versionOf(last))
}

// mayChange fails for a newer release, and for one that somebody else made, unless it may be taken
// over. What it is taken over from is kept for the result.
func (d *deployment) mayChange(ctx context.Context, last *release.Release) error {
	foreign, err := d.isForeign(last)
	if err != nil {
		return err
	}
	if !foreign {
		return d.mayReplace(last)
	}
	if err := d.deliveredHere(ctx, "deploy it"); err != nil {
		return err
	}
	chart := ""
	if last.Chart != nil && last.Chart.Metadata != nil {
		chart = last.Chart.Metadata.Name
	}
	what := "release " + d.App.Name + " in namespace " + d.Namespace
	if err := d.Adoptable(what, "helm", chart); err != nil {
		return err
	}
	if status := last.Info.Status; status.IsPending() || status == release.StatusUninstalling {
		return protocol.Retryable("%s is %s by helm: it is not taken over half done", what, status).
			WithHint("wait for helm to end, or bring it to an end with helm rollback %s --namespace %s", d.App.Name, d.Namespace)
	}
	d.adopted = "helm"
	return nil
}

// deliveredHere fails for an app that Flux or Argo CD delivers to the namespace.
func (d *deployment) deliveredHere(ctx context.Context, todo string) error {
	delivered, err := controllers(ctx, d.Dynamic, d.Namespace, d.App.Name)
	if err != nil || len(delivered) == 0 {
		return err
	}
	return protocol.Unsupported("app %s is delivered to namespace %s by %s, and not by the adapter helm", d.App.Name, d.Namespace, delivered[0].Object).
		WithHint("%s with a topology whose continuousDelivery is %s", todo, delivered[0].Adapter)
}

// claims are the objects without an owner that are taken over.
type claims struct {
	mu sync.Mutex
	by []string
}

// managers are those who wrote the objects.
func (c *claims) managers() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.by, ", ")
}

// claiming is a preview that refuses objects of others.
func (d *deployment) claiming(p prepared) delivery.Preview {
	preview := d.preview(p)
	preview.Claim = d.claim
	return preview
}

// claim fails for an object on the cluster that Helm would not take into the release,
// unless it may be taken over: one that nothing else keeps.
func (d *deployment) claim(live *unstructured.Unstructured) error {
	marked := live.DeepCopy()
	if d.own(marked); reflect.DeepEqual(live.Object, marked.Object) {
		return nil
	}
	what := live.GetKind() + " " + live.GetName()
	if by := delivery.KeptBy(live); by != "" {
		return delivery.KeptError(what, by)
	}
	managers := delivery.Managers(live)
	if d.Adopt == capability.AdoptNothing {
		return protocol.Unsupported("%s exists, and was made by %s, not by harmony", what, strings.Join(managers, ", ")).
			WithHint("%s", delivery.AdoptHint(d.App.Name))
	}
	d.claimed.mu.Lock()
	defer d.claimed.mu.Unlock()
	d.claimed.by = slices.Compact(slices.Sorted(slices.Values(append(d.claimed.by, managers...))))
	return nil
}

// GiveBack implements [delivery.Adapter]: the record goes from every revision, so that
// the release is as plain helm would have made it.
func (a *adapter) GiveBack(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	d, err := a.open(app, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, a.settings.timeout)
	defer cancel()
	result, err := d.giveBack(bounded)
	return result, delivery.Explain(ctx, d.Conn, "give "+app.Name+" on "+target+" back", a.settings.timeout, err)
}

func (d *deployment) giveBack(ctx context.Context) (protocol.DeployResult, error) {
	last, err := d.last(ctx)
	if err != nil || isGone(last) {
		return d.Absent(Name), err
	}
	if foreign, err := d.isForeign(last); err != nil || foreign {
		return d.Absent(Name), err
	}
	c := d.lock()
	c.Plan = func(context.Context) (protocol.DeployResult, error) {
		return d.result(protocol.OutcomeGivenBack, last.Version, record{}), nil
	}
	c.Work = func(ctx context.Context, inherited bool) (protocol.DeployResult, error) {
		last, err := d.free(ctx, inherited)
		if err != nil || last == nil {
			return d.Absent(Name), err
		}
		return d.result(protocol.OutcomeGivenBack, last.Version, record{}), d.unmark(ctx)
	}
	return c.Run(ctx, ctx)
}

// unmark takes harmony's record out of the history, of the newest revision last: a
// process that is killed leaves a release that is still harmony's.
func (d *deployment) unmark(ctx context.Context) error {
	history, err := d.history()
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(history) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !isOurs(r):
			continue
		}
		r.Info.Description = strings.TrimPrefix(r.Info.Description, describedByUs)
		erase(r.Chart.Metadata.Annotations)
		if err := d.config.Releases.Update(r); err != nil {
			return fmt.Errorf("give back revision %d of release %s: %w", r.Version, r.Name, err)
		}
	}
	return nil
}
