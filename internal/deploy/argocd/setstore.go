package argocd

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/pkg/protocol"
)

// read reads the ApplicationSet; nil when there is none. It is patient.
func (f *fanout) read(ctx context.Context) (found *appSet, err error) {
	err = f.argo.patient(ctx, func() error {
		found, err = f.get(ctx)
		return err
	})
	return found, err
}

func (f *fanout) get(ctx context.Context) (*appSet, error) {
	object, err := f.argo.sets.Get(ctx, f.argo.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && missingKind(err):
		return nil, protocol.Unsupported("%s does not know the kind %s of %s", f.argo.Host(), setKind, apiVersion).WithHint(instruction)
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", f.set, err)
	}
	return newAppSet(object)
}

// ownedSet fails for an ApplicationSet that is not harmony's for the app and the
// target.
func (f *fanout) ownedSet(found *appSet) error {
	if found == nil {
		return nil
	}
	labels := found.GetLabels()
	if labels[marks.ManagedBy] != marks.Harmony || labels[marks.App] != f.app.Name || labels[marks.Target] != f.target {
		return protocol.Unsupported("%s was made by somebody else, or for another app or target", f.set).
			WithHint("give it another name with the setting application")
	}
	return nil
}

// applications are those of the ApplicationSet, by name.
func (f *fanout) applications(ctx context.Context) (map[string]*application, error) {
	selector := fmt.Sprintf("%s=%s,%s=%s,%s=%s", marks.ManagedBy, marks.Harmony, marks.App, f.app.Name, marks.Target, f.target)
	var list *unstructured.UnstructuredList
	err := f.argo.patient(ctx, func() (err error) {
		list, err = f.argo.applications.List(ctx, metav1.ListOptions{LabelSelector: selector})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the Applications of %s: %w", f.set, err)
	}
	byName := map[string]*application{}
	for i := range list.Items {
		a, err := api.New(&list.Items[i])
		if err != nil {
			return nil, err
		}
		byName[a.GetName()] = a
	}
	return byName, nil
}

// write makes the ApplicationSet want the release. What it wanted before is kept
// as the release to go back to, if all members had it.
func (f *fanout) write(ctx context.Context, r release, spec map[string]any) error {
	return f.argo.patient(ctx, func() error {
		found, err := f.get(ctx)
		if err != nil {
			return err
		}
		if err := f.ownedSet(found); err != nil {
			return err
		}
		if found != nil && found.wants(spec) {
			return nil
		}
		return f.put(ctx, found, r, spec)
	})
}

// put writes the ApplicationSet once, over the one that was found.
func (f *fanout) put(ctx context.Context, found *appSet, r release, spec map[string]any) error {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": setKind,
		"metadata": map[string]any{"name": f.argo.name, "namespace": f.argo.namespace, "labels": map[string]any{
			marks.ManagedBy: marks.Harmony, marks.App: f.app.Name, marks.Target: f.target,
		}},
	}}
	if found != nil {
		if err := f.keepGood(ctx, found, r); err != nil {
			return err
		}
		object = found.Unstructured
	}
	object.Object["spec"] = spec
	err := note(object, marks.Release, r)
	if err != nil {
		return err
	}
	f.say("apply", "%s: chart %s for %d clusters", f.set, r.chart(), len(f.members))
	if found == nil {
		_, err = f.argo.sets.Create(ctx, object, metav1.CreateOptions{FieldManager: marks.Harmony})
	} else {
		_, err = f.argo.sets.Update(ctx, object, metav1.UpdateOptions{FieldManager: marks.Harmony})
	}
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		err = errStale
	}
	return fmt.Errorf("write %s: %w", f.set, err)
}

// markGood notes that all members run the release.
func (f *fanout) markGood(ctx context.Context, r release) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{marks.Good: string(text)}}})
	if err != nil {
		return err
	}
	err = f.argo.patient(ctx, func() error {
		_, err := f.argo.sets.Patch(ctx, f.argo.name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: marks.Harmony})
		return err
	})
	if err != nil {
		return fmt.Errorf("note in %s that its release is good: %w", f.set, err)
	}
	return nil
}

// keepGood notes the release in force as the one to go back to from the next,
// when every Application was seen to run it, or does so now.
func (f *fanout) keepGood(ctx context.Context, found *appSet, next release) error {
	now, ok := found.release()
	if !ok || equality.Semantic.DeepEqual(now.Source, next.Source) {
		return nil
	}
	if found.isGood(now) {
		return note(found.Unstructured, marks.Previous, now)
	}
	applications, err := f.applications(ctx)
	if err != nil {
		return err
	}
	for _, a := range applications {
		if !f.runs(a, now) {
			return nil
		}
	}
	return note(found.Unstructured, marks.Previous, now)
}
