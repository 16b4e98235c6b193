package argocd

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

type member struct {
	conn.Cluster
	// application is the name of the cluster's Application.
	application string
	wave        int
}

func members(set string, multi protocol.MultiCluster, clusters []conn.Cluster) []member {
	var all []member
	start := 0
	for wave, end := range multi.Ends(len(clusters)) {
		for _, c := range clusters[start:end] {
			all = append(all, member{Cluster: c, application: set + "-" + slug(c.Name), wave: wave + 1})
		}
		start = end
	}
	return all
}

// setSpec is the spec of the ApplicationSet that has Argo CD bring the release
// to the members, a step for each wave. What Argo CD would take for a template
// in the values is escaped.
func (f *fanout) setSpec(r release) (map[string]any, error) {
	var elements, steps []any
	for _, m := range f.members {
		elements = append(elements, map[string]any{
			"application": m.application, "server": m.Server, "wave": strconv.Itoa(m.wave),
		})
	}
	for wave := 1; wave <= f.members[len(f.members)-1].wave; wave++ {
		steps = append(steps, map[string]any{
			"matchExpressions": []any{map[string]any{"key": marks.Wave, "operator": "In", "values": []any{strconv.Itoa(wave)}}},
			"maxUpdate":        f.multi.AtOnce(),
		})
	}
	notes := map[string]any{marks.Image: r.Image, marks.Version: r.Version}
	if r.Images != "" {
		notes[marks.Images] = r.Images
	}
	return plain(map[string]any{
		"goTemplate": true, "goTemplateOptions": []any{"missingkey=error"},
		"generators": []any{map[string]any{"list": map[string]any{"elements": elements}}},
		"strategy":   map[string]any{"type": "RollingSync", "rollingSync": map[string]any{"steps": steps}},
		// The Application of a cluster that is left out goes; what runs there stays.
		"syncPolicy": map[string]any{"preserveResourcesOnDeletion": true},
		"template": map[string]any{
			"metadata": map[string]any{
				"name":        "{{.application}}",
				"labels":      map[string]any{marks.ManagedBy: marks.Harmony, marks.App: f.App.Name, marks.Target: f.Target, marks.Wave: "{{.wave}}"},
				"annotations": notes,
			},
			"spec": map[string]any{
				"project": f.want.project, "source": escape(r.Source),
				"ignoreDifferences": autoscaled(),
				"destination":       map[string]any{"server": "{{.server}}", "namespace": f.multi.Namespace},
				// The controller takes it away, and only looks whether it prunes.
				"syncPolicy": map[string]any{
					"automated": map[string]any{"prune": true}, "syncOptions": f.want.syncOptions,
					"retry": map[string]any{"limit": 1, "backoff": map[string]any{"duration": "2s", "maxDuration": "2s"}},
				},
			},
		},
	})
}

// escape keeps strings from being read as templates.
func escape(value any) any {
	switch v := value.(type) {
	case string:
		return strings.ReplaceAll(v, "{{", "{{`{{`}}")
	case []any:
		made := make([]any, len(v))
		for i, member := range v {
			made[i] = escape(member)
		}
		return made
	case map[string]any:
		made := make(map[string]any, len(v))
		for key, member := range v {
			made[key] = escape(member)
		}
		return made
	}
	return value
}

// appSet is an ApplicationSet: the object as it is, and what is read of it.
type appSet struct {
	*unstructured.Unstructured
	setView
}

type setView struct {
	Status struct {
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"conditions"`
	} `json:"status"`
}

// problem is the error that the controller reports, or "".
func (s *appSet) problem() string {
	for _, c := range s.Status.Conditions {
		if c.Type == "ErrorOccurred" && c.Status == "True" {
			return delivery.Clean(c.Message)
		}
	}
	return ""
}

// wants reports whether it has the release and the members already.
func (s *appSet) wants(spec map[string]any) bool {
	now, _, _ := unstructured.NestedMap(s.Object, "spec")
	for field, value := range spec {
		if !equality.Semantic.DeepEqual(now[field], value) {
			return false
		}
	}
	return true
}

// read reads the ApplicationSet, with retries; nil if it does not exist.
func (f *fanout) read(ctx context.Context) (*appSet, error) {
	return delivery.Retried(ctx, f.argo.patient, f.get)
}

func (f *fanout) get(ctx context.Context) (*appSet, error) {
	object, err := f.argo.read(ctx, f.argo.sets, setKind)
	if object == nil {
		return nil, err
	}
	s := &appSet{Unstructured: object}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &s.setView); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.set, err)
	}
	return s, nil
}

// ownedSet fails for an ApplicationSet that is not harmony's for the app and the
// target.
func (f *fanout) ownedSet(found *appSet) error {
	if found == nil {
		return nil
	}
	labels := found.GetLabels()
	if labels[marks.ManagedBy] != marks.Harmony || labels[marks.App] != f.App.Name || labels[marks.Target] != f.Target {
		return protocol.Unsupported("%s was made by somebody else, or for another app or target", f.set).
			WithHint("give it another name with the setting application")
	}
	return nil
}

func (f *fanout) applications(ctx context.Context) (map[string]*application, error) {
	selector := fmt.Sprintf("%s=%s,%s=%s,%s=%s", marks.ManagedBy, marks.Harmony, marks.App, f.App.Name, marks.Target, f.Target)
	list, err := delivery.Retried(ctx, f.argo.patient, func(ctx context.Context) (*unstructured.UnstructuredList, error) {
		return f.argo.applications.List(ctx, metav1.ListOptions{LabelSelector: selector})
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
		if err := f.mayReplace(found); err != nil {
			return err
		}
		return f.put(ctx, found, r, spec)
	})
}

// mayReplace refuses a deploy that would replace a newer version.
func (f *fanout) mayReplace(found *appSet) error {
	if !f.forward || found == nil {
		return nil
	}
	now, _ := noted(found.Unstructured, marks.Release)
	return f.MayReplace(now.Version)
}

// put writes the ApplicationSet once, over the one that was found.
func (f *fanout) put(ctx context.Context, found *appSet, r release, spec map[string]any) error {
	object := f.newObject(setKind)
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
	f.Say("apply", "%s: chart %s for %d clusters", f.set, r.chart(), len(f.members))
	if found == nil {
		_, err = f.argo.sets.Create(ctx, object, metav1.CreateOptions{FieldManager: marks.Harmony})
	} else {
		_, err = f.argo.sets.Update(ctx, object, metav1.UpdateOptions{FieldManager: marks.Harmony})
	}
	return written(f.set, err)
}

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
	now, ok := noted(found.Unstructured, marks.Release)
	if !ok || equality.Semantic.DeepEqual(now.Source, next.Source) {
		return nil
	}
	// What Argo CD says of one of the members later is no reason to forget that all
	// were seen to run it at one moment.
	if good, ok := noted(found.Unstructured, marks.Good); ok && equality.Semantic.DeepEqual(good.Source, now.Source) {
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
