package flux

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func isOurs(s seen) bool {
	return slices.ContainsFunc(s.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == marks.Harmony && f.Operation == metav1.ManagedFieldsOperationApply && f.Subresource == ""
	})
}

// isForeign reports an object that somebody else made, and that is not to be
// taken over.
func (d *deployment) isForeign(s seen) bool {
	return s.exists() && !isOurs(s) && !d.settings.force && d.Adopt == capability.AdoptNothing
}

// errDeleting is an object that is on its way out, such as the source of a chart
// that was left behind a moment ago.
var errDeleting = errors.New("is being deleted")

// mayTouch refuses an object that is not ours to change: one that is suspended,
// is being deleted, or that somebody else made another way.
func (d *deployment) mayTouch(s seen, want *unstructured.Unstructured) error {
	if !s.exists() {
		return nil
	}
	suspended, _, _ := unstructured.NestedBool(s.Object, "spec", "suspend")
	argument := strings.Replace(strings.ToLower(s.GetKind()), "ocirepository", "source oci", 1) // of the flux command
	switch {
	case s.GetDeletionTimestamp() != nil:
		return protocol.Retryable("%s %w, since %s", s, errDeleting, s.GetDeletionTimestamp().UTC().Format("2006-01-02 15:04:05 MST"))
	case suspended:
		return &protocol.Error{
			Code: protocol.ExitFailed, Message: fmt.Sprintf("%s is suspended%s: Flux does nothing with it", s, suspendedBy(s)),
			Hint: fmt.Sprintf("resume it when the reason is gone: flux resume %s %s -n %s", argument, s.GetName(), s.GetNamespace()),
		}
	case d.isForeign(s) && !covers(s.Object["spec"], want.Object["spec"]):
		return foreign(s)
	}
	return nil
}

func foreign(s seen) error {
	return &protocol.Error{
		Code:    protocol.ExitFailed,
		Message: fmt.Sprintf("%s was made by %s, not by harmony, and differs from what is to be deployed", s, strings.Join(delivery.Managers(s.Unstructured), ", ")),
		Hint:    delivery.AdoptHint(s.GetName()),
	}
}

// useForeign takes the HelmRelease of somebody else as it is, with the
// OCIRepository that it names, when both are set up for the same chart and values.
func (d *deployment) useForeign(ctx context.Context, p *parts) error {
	release := p.release.seen
	spec, _, _ := unstructured.NestedMap(release.Object, "spec")
	kind, _, _ := unstructured.NestedString(spec, "chartRef", "kind")
	wanted, _, _ := unstructured.NestedMap(p.release.want.Object, "spec", "values")
	values, _, _ := unstructured.NestedMap(spec, "values")
	name, _, _ := unstructured.NestedString(spec, "releaseName")
	if kind != "OCIRepository" || d.secretOf(p.release.want) != "" || spec["valuesFrom"] != nil || cmp.Or(name, d.App.Name) != d.App.Name || !reflect.DeepEqual(values, wanted) {
		return foreign(release)
	}
	var err error
	if p.source.seen, err = d.sourceOf(ctx, release); err != nil {
		return err
	}
	essential := map[string]any{}
	for _, field := range []string{"url", "ref", "layerSelector"} {
		essential[field], _, _ = unstructured.NestedFieldCopy(p.source.want.Object, "spec", field)
	}
	if !p.source.seen.exists() || !covers(p.source.seen.Object["spec"], essential) {
		return foreign(release)
	}
	p.source.want, p.release.want = p.source.seen.Unstructured, release.Unstructured
	return cmp.Or(d.mayTouch(p.source.seen, p.source.want), d.mayTouch(release, p.release.want))
}

// sourceOf is the OCIRepository that a HelmRelease names.
func (d *deployment) sourceOf(ctx context.Context, release seen) (seen, error) {
	at, _, _ := unstructured.NestedStringMap(release.Object, "spec", "chartRef")
	return d.get(ctx, sources, cmp.Or(at["namespace"], d.Namespace), at["name"])
}

// suspendedBy says who suspended an object, and when, if the API server knows.
func suspendedBy(s seen) string {
	for _, f := range s.GetManagedFields() {
		if f.FieldsV1 == nil || f.Subresource != "" {
			continue
		}
		var owned struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if err := json.Unmarshal(f.FieldsV1.GetRawBytes(), &owned); err != nil || owned.Spec["f:suspend"] == nil {
			continue
		}
		by := " by " + f.Manager
		if f.Time != nil {
			by += " at " + f.Time.UTC().Format("2006-01-02 15:04:05 MST")
		}
		return by
	}
	return ""
}

// covers reports whether live has every field of want; it may have more.
func covers(live, want any) bool {
	members, isMap := want.(map[string]any)
	if !isMap {
		return reflect.DeepEqual(live, want)
	}
	there, isMap := live.(map[string]any)
	if !isMap {
		return false
	}
	for key, member := range members {
		if !covers(there[key], member) {
			return false
		}
	}
	return true
}
