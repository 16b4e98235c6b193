package argocd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TakesAll reports that a target of this many clusters is left to an
// ApplicationSet.
func (a *adapter) TakesAll(clusters int) bool {
	return a.settings.manage && a.settings.setFrom > 0 && clusters >= a.settings.setFrom
}

// fanout is one deploy to several clusters by an ApplicationSet. It only writes
// that object and follows what Argo CD does with it.
type fanout struct {
	*deployment
	multi   protocol.MultiCluster
	members []member
	each    func(protocol.DeployResult)

	set  string
	spec map[string]any
	// forward says that it is a deploy, which leaves newer versions alone.
	forward bool
	// was is the release in force before.
	was release
	// ends is what became of the members.
	ends []protocol.DeployResult
}

// DeployAll delivers the app to the clusters by an ApplicationSet with a step of
// RollingSync for each wave. A step begins when all of the one before are
// healthy, so that no cluster may fail.
func (a *adapter) DeployAll(ctx context.Context, app protocol.AppSpec, target string, clusters []conn.Cluster, image protocol.ImageRef, chart protocol.ChartRef,
	each func(protocol.DeployResult)) (protocol.DeployResult, error) {
	if err := a.check(app, image, chart); err != nil {
		return protocol.DeployResult{}, err
	}
	f, err := a.prepareAll(app, target, clusters, image, chart, each)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := f.run(ctx)
	return result, f.explain(ctx, err)
}

func (a *adapter) prepareAll(app protocol.AppSpec, target string, clusters []conn.Cluster, image protocol.ImageRef, chart protocol.ChartRef,
	each func(protocol.DeployResult)) (*fanout, error) {
	multi := *a.Env.Topology.Targets[target].MultiCluster
	hub, err := a.connectHub(target, multi, len(clusters))
	if err != nil {
		return nil, err
	}
	d, err := a.deployment(a.Call(hub, app, target), image, chart)
	if err != nil {
		return nil, err
	}
	f := &fanout{deployment: d, multi: multi, each: each, set: setKind + " " + d.argo.namespace + "/" + d.argo.name, ends: make([]protocol.DeployResult, len(clusters))}
	f.members = members(d.argo.name, multi, clusters)
	f.spec, err = f.setSpec(d.want.release)
	return f, err
}

// connectHub opens the way to Argo CD. What an ApplicationSet cannot do is refused
// before.
func (a *adapter) connectHub(target string, multi protocol.MultiCluster, clusters int) (*delivery.Cluster, error) {
	hub := a.settings.context
	if multi.ArgoCD != nil {
		hub = cmp.Or(hub, multi.ArgoCD.Context)
	}
	switch {
	case a.Flags != nil && a.Flags.Context != "":
		return nil, protocol.Invalid("--context limits the work to one cluster, and the ApplicationSet of target %q is of all of them", target)
	case multi.Failures(clusters) > 0:
		return nil, protocol.Unsupported("target %q has maxFailures, but an ApplicationSet continues only when a whole wave is healthy", target).
			WithHint("leave maxFailures out, or set the adapter's setting applicationSet to false")
	case a.settings.name != "" || a.settings.server != "":
		return nil, errDestination()
	}
	conn, err := a.connectContext(target, hub, multi.Namespace)
	if err != nil {
		return nil, err
	}
	return delivery.NewCluster(conn)
}

// run reads the ApplicationSet and does what is missing.
func (f *fanout) run(ctx context.Context) (protocol.DeployResult, error) {
	found, err := f.read(ctx)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if err := f.ownedSet(found); err != nil {
		return protocol.DeployResult{}, err
	}
	applications, err := f.applications(ctx)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	outcomes, done := f.outcomes(applications)
	if found != nil && found.wants(f.spec) && done {
		return f.foreseen(outcomes)
	}
	f.forward = true
	if err := errors.Join(f.mayReplace(found), f.ready(ctx)); err != nil {
		return protocol.DeployResult{}, err
	}
	f.regard(ctx, found)
	return f.apply(ctx, outcomes, f.rollbackAfter)
}

// regard reads the release in force and, for a change of it, what the chart says of
// going back.
func (f *fanout) regard(ctx context.Context, found *appSet) {
	if found == nil {
		return
	}
	f.was, _ = noted(found.Unstructured, marks.Release)
	_, _ = f.rendered(ctx, f.multi.Namespace, false) // f.Irreversible tells
}

// apply has Argo CD bring what is wanted to the members, under the lease, with
// the outcomes. mend is called for a failure, and tells it with what it did about
// it.
func (f *fanout) apply(ctx context.Context, outcomes []protocol.Outcome, mend func(context.Context, error) error) (protocol.DeployResult, error) {
	c := f.lock(f.set, func(ctx context.Context) (protocol.DeployResult, error) {
		if err := f.write(ctx, f.want.release, f.spec); err != nil {
			return protocol.DeployResult{}, err
		}
		failure := f.follow(ctx, f.want.release, outcomes)
		if failure == nil {
			failure = f.markGood(ctx, f.want.release)
		}
		if failure != nil && ctx.Err() == nil {
			failure = mend(ctx, failure)
		}
		return f.conclude(failure)
	})
	c.Plan = func(context.Context) (protocol.DeployResult, error) { return f.foreseen(outcomes) }
	return c.Run(ctx, ctx)
}

// outcomes is the outcome of the deploy for each member, and whether that is
// nothing.
func (f *fanout) outcomes(applications map[string]*application) (outcomes []protocol.Outcome, done bool) {
	done = true
	for _, m := range f.members {
		outcome := outcomeOf(applications[m.application])
		if f.runs(applications[m.application], f.want.release) {
			outcome = protocol.OutcomeUnchanged
		}
		done = done && outcome == protocol.OutcomeUnchanged
		outcomes = append(outcomes, outcome)
	}
	return outcomes, done
}

func (f *fanout) foreseen(outcomes []protocol.Outcome) (protocol.DeployResult, error) {
	for i, outcome := range outcomes {
		f.finish(i, outcome, "")
	}
	return f.conclude(nil)
}

// ready fails for what would not work: clusters and a project that Argo CD does
// not have, and a controller that would go to all clusters at once.
func (f *fanout) ready(ctx context.Context) error {
	servers, err := f.argo.servers(ctx)
	if err != nil {
		return fmt.Errorf("read the clusters of Argo CD: %w", err)
	}
	var unknown []string
	for _, m := range f.members {
		if m.Server != inCluster && !slices.Contains(servers, m.Server) {
			unknown = append(unknown, fmt.Sprintf("%s (%s)", m.Name, m.Server))
		}
	}
	if len(unknown) > 0 {
		return protocol.Unsupported("Argo CD in namespace %s does not have %d of the clusters of target %q:%s", f.argo.namespace, len(unknown), f.Target, listed(unknown)).
			WithHint("add them to Argo CD, or set the adapter's setting applicationSet to false")
	}
	if err := f.argo.project(ctx, f.settings.project); err != nil {
		return err
	}
	const settings, key = "argocd-cmd-params-cm", "applicationsetcontroller.enable.progressive.syncs"
	params, err := f.argo.Client.CoreV1().ConfigMaps(f.argo.namespace).Get(ctx, settings, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read the settings of Argo CD: %w", err)
	}
	if err != nil || params.Data[key] != "true" {
		return protocol.Unsupported("Argo CD does no progressive syncs: its ApplicationSet controller would go to all %d clusters at once", len(f.members)).
			WithHint("set %s: \"true\" in ConfigMap %s/%s and restart the controller, or set the adapter's setting applicationSet to false", key, f.argo.namespace, settings)
	}
	return nil
}

// finish reports the outcome of a member.
func (f *fanout) finish(i int, outcome protocol.Outcome, message string) {
	result := f.Result(Name, outcome)
	result.Context, result.Cluster, result.Message = "", f.members[i].Name, message
	if outcome.Delivered() {
		result.Image, result.Images, result.Chart = f.want.digest(), status.Digests(f.want.Images), f.want.chart()
	}
	if outcome == protocol.OutcomeUpgraded || outcome == protocol.OutcomeRolledBack {
		result.PreviousImage, result.PreviousChart = f.was.digest(), f.was.chart()
	}
	f.ends[i] = result
	f.each(result)
}

// conclude derives the result from the outcomes of the members.
func (f *fanout) conclude(failure error) (protocol.DeployResult, error) {
	var count protocol.ClusterCount
	for i := range f.ends {
		if f.ends[i].Outcome == "" {
			f.finish(i, protocol.OutcomeSkipped, "not followed to its end: the rollout stopped")
		}
		count.Add(f.ends[i].Outcome)
	}
	result := f.Result(Name, count.Outcome())
	result.Context, result.Clusters = "", &count
	if failure == nil {
		result.Image, result.Images, result.Chart = f.want.digest(), status.Digests(f.want.Images), f.want.chart()
	} else if result.Outcome.Delivered() || result.Outcome == protocol.OutcomeSkipped {
		result.Outcome = protocol.OutcomeFailed
	}
	return result, failure
}
