package delivery

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// stepwise are the kinds whose own controllers roll out step by step.
var stepwise = []schema.GroupVersionKind{
	{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"},
	{Group: "flagger.app", Version: "v1beta1", Kind: "Canary"},
}

// Resume lets the Rollouts of the app go on that are paused, whatever adapter
// delivered them: with their next step, or to their end when full. It says of each
// what was done. That there is none to resume is an error of status
// protocol.ExitUnsupported.
func (c *Call) Resume(ctx context.Context, full bool) ([]string, error) {
	objects, err := c.stepwise(ctx)
	if err != nil {
		return nil, err
	}
	workloads, err := rollout.Progressive(ctx, objects, c.Space(), nil)
	if err != nil {
		return nil, err
	}
	snapshots, err := rollout.Read(ctx, c.Client, workloads)
	if err != nil {
		return nil, err
	}
	var done []string
	for _, s := range snapshots {
		did, err := rollout.Resume(ctx, s, full)
		if err != nil {
			return done, err
		}
		if did != "" {
			done = append(done, s.Workload.String()+": "+did)
		}
	}
	if len(done) > 0 {
		return done, nil
	}
	none := protocol.Unsupported("app %s has nothing to resume in namespace %s: %s", c.App.Name, c.Namespace, c.standing(snapshots))
	if !full && len(snapshots) > 0 {
		return nil, none.WithHint("--full skips the steps and analyses that are left")
	}
	return nil, none
}

// standing says how far the rollouts are.
func (c *Call) standing(snapshots []rollout.Snapshot) string {
	var parts []string
	for _, s := range snapshots {
		if found, err := rollout.StatusOf(s); err == nil {
			parts = append(parts, s.Workload.String()+": "+found.Message)
		}
	}
	if len(parts) == 0 {
		return "it has no Rollout of Argo Rollouts"
	}
	return strings.Join(parts, "; ")
}

// stepwise are the app's objects of those kinds. The cluster need not have the kinds.
func (c *Call) stepwise(ctx context.Context) ([]*unstructured.Unstructured, error) {
	var found []*unstructured.Unstructured
	for _, kind := range stepwise {
		mapping, err := c.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for kind %s: %w", kind.Kind, err)
		}
		list, err := c.Dynamic.Resource(mapping.Resource).Namespace(c.Namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) && kind != stepwise[0] {
			continue // nothing of it can be resumed
		}
		if err != nil {
			return nil, fmt.Errorf("list %s of namespace %s: %w", mapping.Resource.Resource, c.Namespace, err)
		}
		for i := range list.Items {
			if ofRelease(&list.Items[i], c.App.Name) {
				found = append(found, &list.Items[i])
			}
		}
	}
	return found, nil
}

// ofRelease reports an object of a Helm release, or of an Argo CD Application, of the
// app's name: Helm and Argo CD say so themselves, and charts by a label.
func ofRelease(o *unstructured.Unstructured, name string) bool {
	application, _, _ := strings.Cut(o.GetAnnotations()["argocd.argoproj.io/tracking-id"], ":")
	return o.GetAnnotations()["meta.helm.sh/release-name"] == name || o.GetLabels()["app.kubernetes.io/instance"] == name || application == name
}
