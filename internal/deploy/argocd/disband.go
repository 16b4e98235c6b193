package argocd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// RemoveAll has the ApplicationSet let go of its Applications, and then each taken off
// its cluster as one of harmony's own is. Until then the ApplicationSet's controller
// would write back what is changed. each goes through the clusters, with the adapters of
// which the function makes those that remove a member's Application.
func (a *adapter) RemoveAll(ctx context.Context, app protocol.AppSpec, target string, clusters []conn.Cluster,
	each func(context.Context, func(delivery.Adapter) delivery.Adapter) (protocol.DeployResult, error)) (protocol.DeployResult, error) {
	f, err := a.prepareAll(app, target, clusters, protocol.ImageRef{Metadata: app.Metadata}, protocol.ChartRef{Metadata: app.Metadata}, func(protocol.DeployResult) {})
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if err := reachable(clusters); err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := f.removeAll(ctx, each)
	return result, delivery.Explain(ctx, f.argo.Conn, f.Uninstalling(), f.settings.timeout, err)
}

// reachable fails for clusters of which harmony cannot see what goes and what stays.
func reachable(clusters []conn.Cluster) error {
	var refused []string
	for _, c := range clusters {
		if _, err := c.Flags(); err != nil {
			refused = append(refused, c.Name)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return protocol.Unsupported("uninstall connects to each cluster, to see what goes and what stays, and these have credentials that only Argo CD can use:%s", listed(refused)).
		WithHint("name the clusters by contexts of the kubeconfig")
}

func (f *fanout) removeAll(ctx context.Context, each func(context.Context, func(delivery.Adapter) delivery.Adapter) (protocol.DeployResult, error)) (protocol.DeployResult, error) {
	found, err := f.read(ctx)
	if err == nil {
		err = f.ownedSet(found)
	}
	if err != nil {
		return protocol.DeployResult{}, err
	}
	applications, err := f.applications(ctx)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if found == nil && len(applications) == 0 {
		return each(ctx, f.member)
	}
	f.tellLeft(applications)
	c := f.lock(f.set, func(ctx context.Context) (protocol.DeployResult, error) {
		if err := f.letGo(ctx); err != nil {
			return protocol.DeployResult{}, err
		}
		return each(ctx, f.member)
	})
	c.Plan = func(ctx context.Context) (protocol.DeployResult, error) { return each(ctx, f.member) }
	return c.Run(ctx, ctx)
}

// tellLeft names the Applications of clusters that the target does not have any more.
func (f *fanout) tellLeft(applications map[string]*application) {
	for name := range applications {
		if !slices.ContainsFunc(f.members, func(m member) bool { return m.application == name }) {
			f.Say("warning", "%s %s/%s is of a cluster that target %q does not have: it stays, and so does what runs there", kind, f.argo.namespace, name, f.Target)
		}
	}
}

// member is the adapter of a cluster as one for the Application that the ApplicationSet
// made for it.
func (f *fanout) member(of delivery.Adapter) delivery.Adapter {
	one, ok := of.(*adapter)
	if !ok {
		return of
	}
	made := &adapter{Base: delivery.Base{Unsupported: Name, Flags: one.Flags, Env: one.Env}, settings: one.settings, hub: f.argo.Cluster, set: f.argo.name}
	for _, m := range f.members {
		if m.Name == one.Env.Cluster {
			made.settings.application = m.application
		}
	}
	return made
}

// letGo deletes the ApplicationSet and leaves its Applications, and what they deliver, as
// they are.
func (f *fanout) letGo(ctx context.Context) error {
	found, err := f.read(ctx)
	if err == nil {
		err = f.ownedSet(found)
	}
	if err != nil || found == nil {
		return err
	}
	f.Say("remove", "%s, without its Applications", f.set)
	orphan := metav1.DeletePropagationOrphan
	err = f.argo.patient(ctx, func() error {
		err := f.argo.sets.Delete(ctx, f.argo.name, metav1.DeleteOptions{
			PropagationPolicy: &orphan, Preconditions: metav1.NewUIDPreconditions(string(found.GetUID())),
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s: %w", f.set, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return f.awaitLetGo(ctx, found)
}

// awaitLetGo waits until no Application belongs to the ApplicationSet any more: it is gone
// only then.
func (f *fanout) awaitLetGo(ctx context.Context, found *appSet) error {
	bounded, cancel := f.bounded(ctx)
	defer cancel()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		now, err := f.read(bounded)
		if err == nil && (now == nil || now.GetUID() != found.GetUID()) {
			return nil
		}
		if err == nil {
			select {
			case <-bounded.Done():
				err = bounded.Err()
			case <-ticker.C:
				continue
			}
		}
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return protocol.Retryable("%s is not gone after %s", f.set, f.settings.timeout).
				WithHint("see which finalizer holds it: kubectl get applicationset %s --namespace %s --output yaml", f.argo.name, f.argo.namespace)
		}
		return err
	}
}
