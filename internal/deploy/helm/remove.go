package helm

import (
	"context"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/internal/cluster/removal"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Remove implements [capability.Remover]. Helm's history goes last: a process that
// is killed leaves a release that the next one goes on with.
func (a *adapter) Remove(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	d, err := a.open(app, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, a.settings.timeout)
	defer cancel()
	result, err := d.remove(bounded)
	return result, delivery.Explain(ctx, d.Conn, d.Uninstalling(), a.settings.timeout, err)
}

func (d *deployment) remove(ctx context.Context) (protocol.DeployResult, error) {
	if err := namespace.Check(ctx, d.Client, d.Namespace); err != nil {
		return protocol.DeployResult{}, err
	}
	last, err := d.removable(ctx)
	if err != nil || last == nil {
		return d.Absent(Name), err
	}
	c := d.lock()
	c.Plan = func(ctx context.Context) (protocol.DeployResult, error) {
		p, err := d.removal(last)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		return d.Gone(ctx, Name, p)
	}
	c.Work = func(ctx context.Context, _ bool) (protocol.DeployResult, error) { return d.removeHeld(ctx) }
	return c.Run(ctx, ctx)
}

// removable is the newest revision of a release that harmony made; nil when there
// is no release.
func (d *deployment) removable(ctx context.Context) (*release.Release, error) {
	last, err := d.last(ctx)
	if err != nil {
		return nil, err
	}
	err = d.deliveredHere(ctx, "uninstall it")
	switch {
	case err != nil:
		return nil, err
	case last != nil && recordOf(last) == record{}:
		return nil, delivery.NotOurs("release "+d.App.Name+" in namespace "+d.Namespace, "helm").
			WithHint("remove it with helm uninstall %s --namespace %s", d.App.Name, d.Namespace)
	}
	return last, nil
}

// removal is what becomes of the objects of a revision. The pull secret that
// harmony made stays: other apps of the namespace may use it.
func (d *deployment) removal(last *release.Release) (removal.Plan, error) {
	p, err := d.RemovalOf(last)
	if d.settings.pullSecret != "" {
		secret := &unstructured.Unstructured{}
		secret.SetAPIVersion("v1")
		secret.SetKind("Secret")
		secret.SetName(d.settings.pullSecret)
		p.Stays = append(p.Stays, secret)
	}
	return p, err
}

// removeHeld does the work of remove under the lease. Another process may have
// done it meanwhile.
func (d *deployment) removeHeld(ctx context.Context) (protocol.DeployResult, error) {
	last, err := d.removable(ctx)
	if err != nil || last == nil {
		return d.Absent(Name), err
	}
	p, err := d.removal(last)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if last.Info.Status != release.StatusUninstalled {
		if err := d.uninstall(ctx, last); err != nil {
			return protocol.DeployResult{}, err
		}
	}
	if err := p.Delete(ctx); err != nil {
		return protocol.DeployResult{}, err
	}
	if err := d.AwaitGone(ctx, p); err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := d.Gone(ctx, Name, p)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	return result, d.purge(ctx)
}

// uninstall has Helm delete the objects, and run the hooks for that. The history
// stays, for whoever has to go on. Helm's call cannot be cancelled: when the context
// ends, it is left alone.
func (d *deployment) uninstall(ctx context.Context, last *release.Release) error {
	if err := d.keepOthers(last); err != nil {
		return err
	}
	d.Say("remove", "release %s", d.App.Name)
	var reasons []string
	d.config.Log = func(format string, args ...any) {
		if strings.HasPrefix(format, "uninstall: Failed") {
			reasons = append(reasons, fmt.Sprintf(format, args...))
		}
	}
	u := action.NewUninstall(d.config)
	u.KeepHistory, u.DeletionPropagation, u.Timeout = true, "foreground", remaining(ctx)
	u.Description = describedByUs + "uninstalled"
	done := make(chan error, 1)
	go func() {
		_, err := u.Run(d.App.Name)
		if err != nil {
			err = fmt.Errorf("%s", strings.Join(append([]string{err.Error()}, reasons...), "; "))
		}
		done <- err
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		if err != nil {
			return fmt.Errorf("uninstall release %s: %w", d.App.Name, err)
		}
	}
	return nil
}

// keepOthers marks the objects of a revision that stay although the chart does not
// say so: Helm would delete them, with objects that are not the release's.
func (d *deployment) keepOthers(last *release.Release) error {
	objects, err := manifest.Parse(last.Manifest)
	if err != nil {
		return err
	}
	var text strings.Builder
	marked := false
	for _, o := range objects {
		if removal.HoldsOthers(o) && !removal.MarkedKept(o) {
			annotations := o.GetAnnotations()
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[removal.PolicyAnnotation] = removal.PolicyKeep
			o.SetAnnotations(annotations)
			marked = true
		}
		document, err := yaml.Marshal(o.Object)
		if err != nil {
			return err
		}
		text.WriteString("---\n" + string(document))
	}
	if !marked {
		return nil
	}
	last.Manifest = text.String()
	if err := d.config.Releases.Update(last); err != nil {
		return fmt.Errorf("record what stays of release %s: %w", d.App.Name, err)
	}
	return nil
}

// purge deletes the history, the newest revision last.
func (d *deployment) purge(ctx context.Context) error {
	history, err := d.config.Releases.History(d.App.Name)
	if err != nil {
		return fmt.Errorf("read the history of release %s: %w", d.App.Name, err)
	}
	releaseutil.SortByRevision(history)
	for _, r := range history {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := d.config.Releases.Delete(r.Name, r.Version); err != nil {
			return fmt.Errorf("delete revision %d of release %s: %w", r.Version, r.Name, err)
		}
	}
	return nil
}
