package argocd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/removal"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// resourcesFinalizer has Argo CD delete an Application's objects, and their pods,
// before the Application goes.
const resourcesFinalizer = "resources-finalizer.argocd.argoproj.io"

// Remove implements [capability.Remover]: Argo CD deletes the objects of an
// Application that is deleted with its finalizer.
func (a *adapter) Remove(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	if !a.settings.manage {
		return protocol.DeployResult{}, protocol.Unsupported("the Application of %s for target %q comes from Git", app.Name, target).WithHint("remove it in Git")
	}
	d, err := a.prepare(app, target, protocol.ImageRef{Metadata: app.Metadata}, protocol.ChartRef{Metadata: app.Metadata})
	if err != nil {
		return protocol.DeployResult{}, err
	}
	bounded, cancel := d.bounded(ctx)
	defer cancel()
	result, err := d.remove(bounded)
	return result, delivery.Explain(ctx, d.argo.Conn, d.Uninstalling(), d.settings.timeout, err)
}

func (d *deployment) remove(ctx context.Context) (protocol.DeployResult, error) {
	found, err := d.removable(ctx)
	if err != nil || found == nil {
		return d.Absent(Name), err
	}
	c := d.lock(d.argo.String(), d.removeHeld)
	c.Plan = func(ctx context.Context) (protocol.DeployResult, error) {
		p, err := d.removal(ctx, found)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		return d.Gone(ctx, Name, p)
	}
	return c.Run(ctx, ctx)
}

// removable is the Application, which must be harmony's, or nil if it does not exist.
func (d *deployment) removable(ctx context.Context) (*application, error) {
	found, err := delivery.Retried(ctx, d.argo.patient, d.argo.get)
	if err != nil || found == nil {
		return nil, err
	}
	if err := d.owned(found); err != nil {
		return nil, protocol.Unsupported("%w", err).WithHint("remove it where it comes from")
	}
	return found, nil
}

// removal is what becomes of the Application's objects. Argo CD keeps those that are
// marked so on the cluster, and all CustomResourceDefinitions.
func (d *deployment) removal(ctx context.Context, found *application) (removal.Plan, error) {
	p := removal.Plan{Space: d.Space(), App: d.App.Name}
	for _, r := range found.Status.Resources {
		o, err := d.object(ctx, r.Reference)
		switch {
		case err != nil:
			return p, err
		case o == nil:
			continue
		}
		disabled := slices.Contains(strings.Split(o.GetAnnotations()["argocd.argoproj.io/sync-options"], ","), "Delete=false")
		if o.GetKind() == "Namespace" && !disabled {
			if err := delivery.KeepsOthers("Argo CD", []*unstructured.Unstructured{o}); err != nil {
				return p, err
			}
		}
		if disabled || removal.MarkedKept(o) || removal.HoldsOthers(o) {
			p.Stays = append(p.Stays, o)
		} else {
			p.Goes = append(p.Goes, o)
		}
	}
	return p, nil
}

// removeHeld does the work of remove under the lease. Another process may have done
// it, or begun it, meanwhile.
func (d *deployment) removeHeld(ctx context.Context) (protocol.DeployResult, error) {
	found, err := d.removable(ctx)
	if err != nil || found == nil {
		return d.Absent(Name), err
	}
	p, err := d.removal(ctx, found)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if found.GetDeletionTimestamp() == nil {
		if err := d.delete(ctx, found); err != nil {
			return protocol.DeployResult{}, err
		}
	}
	if err := d.awaitDeleted(ctx, found, p); err != nil {
		return protocol.DeployResult{}, err
	}
	if err := d.AwaitGone(ctx, p); err != nil {
		return protocol.DeployResult{}, err
	}
	return d.Gone(ctx, Name, p)
}

// delete deletes the Application with its objects.
func (d *deployment) delete(ctx context.Context, found *application) error {
	d.Say("remove", "%s", d.argo)
	err := d.argo.edit(ctx, func(now *application) (bool, error) {
		if slices.Contains(now.GetFinalizers(), resourcesFinalizer) {
			return false, nil
		}
		now.SetFinalizers(append(now.GetFinalizers(), resourcesFinalizer))
		return true, nil
	})
	if err != nil {
		return err
	}
	return d.argo.patient(ctx, func() error {
		err := d.argo.applications.Delete(ctx, d.argo.name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(found.GetUID()))})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s: %w", d.argo, err)
		}
		return nil
	})
}

// awaitDeleted waits until Argo CD lets the Application go.
func (d *deployment) awaitDeleted(ctx context.Context, found *application, p removal.Plan) error {
	told := ""
	for {
		now, err := delivery.Retried(ctx, d.argo.patient, d.argo.get)
		if err == nil && (now == nil || now.GetUID() != found.GetUID()) {
			return nil
		}
		if err == nil {
			if message := deletionError(now); message != told {
				told = message
				d.Say("remove", "%s: %s", d.argo, told)
			}
			err = d.argo.wait(ctx, now, 2*time.Second)
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			if left := p.Left(ctx); left != nil {
				return left
			}
			return protocol.Retryable("Argo CD has not let go of %s%s", d.argo, strings.TrimSuffix(": "+told, ": ")).
				WithHint("see that its application controller runs, and that no other finalizer holds the Application")
		}
		if err != nil {
			return err
		}
	}
}

// deletionError is why Argo CD cannot delete the objects, or "".
func deletionError(a *application) string {
	for _, c := range a.Status.Conditions {
		if c.Type == "DeletionError" {
			return delivery.Clean(c.Message)
		}
	}
	return ""
}
