package flux

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// adopts reports a HelmRelease of somebody else that is to be taken over, and fails
// for one that may not be.
func (d *deployment) adopts(ctx context.Context, s seen) (bool, error) {
	d.adopted = "" // another process may have done it since
	if !s.exists() || isOurs(s) || d.Adopt == capability.AdoptNothing {
		return false, nil
	}
	if by := delivery.KeptBy(s.Unstructured); by != "" {
		return false, delivery.KeptError(s.String(), by)
	}
	managers := strings.Join(delivery.Managers(s.Unstructured), ", ")
	chart, err := d.chartName(ctx, s)
	if err == nil {
		err = d.Adoptable(s.String(), managers, chart)
	}
	if err == nil {
		err = d.sameRelease(s)
	}
	if err != nil {
		return false, err
	}
	d.adopted = managers
	return true, nil
}

// chartName is the name of a HelmRelease's chart, "" where that is not known.
func (d *deployment) chartName(ctx context.Context, s seen) (string, error) {
	if chart, found, _ := unstructured.NestedString(s.Object, "spec", "chart", "spec", "chart"); found {
		return path.Base(chart), nil
	}
	if kind, _, _ := unstructured.NestedString(s.Object, "spec", "chartRef", "kind"); kind != "OCIRepository" {
		return "", nil
	}
	source, err := d.sourceOf(ctx, s)
	if err != nil || !source.exists() {
		return "", err
	}
	url, _, _ := unstructured.NestedString(source.Object, "spec", "url")
	return delivery.ChartOf(url), nil
}

// sameRelease fails for a HelmRelease whose Helm release is another one than that of
// harmony, or is made of more than a chart and its values.
func (d *deployment) sameRelease(s seen) error {
	spec, _, _ := unstructured.NestedMap(s.Object, "spec")
	for _, field := range []string{"kubeConfig", "postRenderers", "valuesFrom"} {
		if spec[field] != nil && (field != "valuesFrom" || d.secretOf(s.Unstructured) == "") {
			return protocol.Unsupported("%s has spec.%s, which harmony does not write: without it Flux would install something else", s, field).
				WithHint("move what it says into the chart or the app's values, and remove it there")
		}
	}
	name := d.App.Name
	if to, _ := spec["targetNamespace"].(string); to != "" {
		name = to + "-" + name // Flux's default
	}
	for field, of := range map[string]struct{ otherwise, want string }{
		"releaseName": {name, d.App.Name}, "targetNamespace": {d.Namespace, d.Namespace}, "storageNamespace": {d.Namespace, d.Namespace},
	} {
		is, _ := spec[field].(string)
		if is == "" {
			is = of.otherwise
		}
		if is != of.want {
			return protocol.Unsupported("%s has the %s %s, and harmony's would have %s: the objects would be made a second time", s, field, is, of.want).
				WithHint("name the app and the target's namespace as the release is, or uninstall it there")
		}
	}
	return nil
}

// tried has the API server try what an object that is taken over becomes.
func (d *deployment) tried(ctx context.Context, p part) error {
	becomes := p.seen.DeepCopy()
	becomes.Object["spec"] = p.want.Object["spec"]
	_, err := d.Dynamic.Resource(p.resource).Namespace(becomes.GetNamespace()).
		Update(ctx, becomes, metav1.UpdateOptions{FieldManager: marks.Harmony, DryRun: []string{metav1.DryRunAll}})
	if err != nil && !apierrors.IsConflict(err) { // Flux may have written its status since
		return d.applyError(p.want, err)
	}
	return nil
}

// own makes the spec of an object harmony's own, as if harmony had applied it: what
// harmony applies next takes its place as a whole. Nothing of the spec changes yet, so
// that Flux does nothing.
func (d *deployment) own(ctx context.Context, p *part) error {
	d.Say("adopt", "%s, from %s", p.seen, d.adopted)
	made, err := d.edit(ctx, p.resource, p.seen, func(object *unstructured.Unstructured) error {
		fields, err := moved(object.GetManagedFields(), func(metav1.ManagedFieldsEntry) bool { return true }, metav1.ManagedFieldsEntry{
			Manager: marks.Harmony, Operation: metav1.ManagedFieldsOperationApply, APIVersion: object.GetAPIVersion(),
		})
		object.SetManagedFields(fields)
		return err
	})
	if err == nil {
		p.seen = made
	}
	return err
}

// edit writes an object that was read, changed. Flux may have written its status since;
// one whose spec somebody has changed is left as it is.
func (d *deployment) edit(ctx context.Context, resource schema.GroupVersionResource, s seen, change func(*unstructured.Unstructured) error) (seen, error) {
	for {
		object := s.DeepCopy()
		if err := change(object); err != nil {
			return seen{}, fmt.Errorf("managed fields of %s: %w", s, err)
		}
		made, err := d.Dynamic.Resource(resource).Namespace(s.GetNamespace()).Update(ctx, object, metav1.UpdateOptions{FieldManager: marks.Harmony})
		switch {
		case err == nil:
			return newSeen(made)
		case !apierrors.IsConflict(err):
			return seen{}, fmt.Errorf("write %s: %w", s, err)
		}
		now, err := d.get(ctx, resource, s.GetNamespace(), s.GetName())
		switch {
		case err != nil:
			return seen{}, err
		case !now.exists() || now.GetUID() != s.GetUID() || now.GetGeneration() != s.GetGeneration():
			return seen{}, protocol.Retryable("%s was changed by somebody else meanwhile", s)
		}
		s = now
	}
}

// moved are the managed fields of an object with the spec of some managers as that of
// another one.
func moved(fields []metav1.ManagedFieldsEntry, from func(metav1.ManagedFieldsEntry) bool, to metav1.ManagedFieldsEntry) ([]metav1.ManagedFieldsEntry, error) {
	spec := map[string]any{}
	var all []metav1.ManagedFieldsEntry
	for _, f := range fields {
		if f.Subresource != "" || f.FieldsV1 == nil || !from(f) {
			all = append(all, f)
			continue
		}
		var owned map[string]any
		if err := json.Unmarshal(f.FieldsV1.GetRawBytes(), &owned); err != nil {
			return nil, err
		}
		if of, ok := owned["f:spec"].(map[string]any); ok {
			merge(spec, of)
			delete(owned, "f:spec")
		}
		if len(owned) == 0 {
			continue
		}
		text, err := json.Marshal(owned)
		if err != nil {
			return nil, err
		}
		f.FieldsV1 = metav1.NewFieldsV1(string(text))
		all = append(all, f)
	}
	text, err := json.Marshal(map[string]any{"f:spec": spec})
	if err != nil {
		return nil, err
	}
	to.FieldsType, to.FieldsV1 = "FieldsV1", metav1.NewFieldsV1(string(text))
	return append(all, to), nil
}

// merge adds the members of one map to another, at every depth.
func merge(into, from map[string]any) {
	for key, member := range from {
		there, both := into[key].(map[string]any)
		more, isMap := member.(map[string]any)
		if both && isMap {
			merge(there, more)
			continue
		}
		into[key] = member
	}
}

// GiveBack implements [delivery.Adapter]: the HelmRelease and its OCIRepositories stay
// as they are, without harmony's marks.
func (a *adapter) GiveBack(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	d, err := a.open(app, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, d.settings.timeout)
	defer cancel()
	result, err := d.giveBack(bounded)
	return result, delivery.Explain(ctx, d.Conn, "give "+app.Name+" on "+target+" back", d.settings.timeout, err)
}

func (d *deployment) giveBack(ctx context.Context) (protocol.DeployResult, error) {
	s, err := d.get(ctx, releases, d.Namespace, d.App.Name)
	if err != nil || !s.exists() || !isOurs(s) {
		return d.Absent(Name), err
	}
	given := d.result(protocol.OutcomeGivenBack, standing{revision: s.revision()}, standing{})
	c := d.lock(func(ctx context.Context) (protocol.DeployResult, error) { return given, d.unmark(ctx) })
	c.Plan = func(context.Context) (protocol.DeployResult, error) { return given, nil }
	return c.Run(ctx, ctx)
}

// givenBack is the field manager of what harmony has given back.
const givenBack = "given-back"

// unmark takes harmony's marks off the objects, and off the HelmRelease last: a process
// that is killed leaves one that is still harmony's.
func (d *deployment) unmark(ctx context.Context) error {
	charts, err := d.charts(ctx)
	if err != nil {
		return err
	}
	for _, chart := range charts {
		if err := d.release(ctx, sources, chart); err != nil {
			return err
		}
	}
	s, err := d.get(ctx, releases, d.Namespace, d.App.Name)
	if err != nil || !s.exists() {
		return err
	}
	return d.release(ctx, releases, s)
}

// release takes harmony's marks off an object.
func (d *deployment) release(ctx context.Context, resource schema.GroupVersionResource, s seen) error {
	_, err := d.edit(ctx, resource, s, func(object *unstructured.Unstructured) error {
		ours := func(key, _ string) bool { return strings.HasPrefix(key, marks.Domain) }
		labels, annotations := maps.Clone(object.GetLabels()), maps.Clone(object.GetAnnotations())
		maps.DeleteFunc(labels, ours)
		maps.DeleteFunc(annotations, ours)
		object.SetLabels(labels)
		object.SetAnnotations(annotations)
		harmony := func(f metav1.ManagedFieldsEntry) bool { return f.Manager == marks.Harmony }
		fields, err := moved(object.GetManagedFields(), harmony, metav1.ManagedFieldsEntry{
			Manager: givenBack, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: object.GetAPIVersion(),
		})
		object.SetManagedFields(slices.DeleteFunc(fields, harmony))
		return err
	})
	return err
}
