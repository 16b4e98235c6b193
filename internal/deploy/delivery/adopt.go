package delivery

import (
	"cmp"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// AdoptHint says how to take over what harmony did not make.
func AdoptHint(app string) string {
	return "see what would change with harmony diff " + app + ", then take it over with --adopt"
}

// Adoptable fails for something of others that may not be taken over: none without
// --adopt, and one of another chart only if that is said. chart is the name of its
// chart, "" where that is not known.
func (c *Call) Adoptable(what, by, chart string) error {
	switch {
	case c.Adopt == capability.AdoptNothing:
		return NotOurs(what, by).WithHint("%s", AdoptHint(c.App.Name))
	case c.Adopt != capability.AdoptAnyChart && chart != c.Chart.Chart:
		return protocol.Unsupported("%s is of the chart %s, and the app's is %s", what, cmp.Or(chart, "that a repository holds in files"), c.Chart.Chart).
			WithHint("see what would change with harmony diff %s, then take it over all the same with --adopt=%s", c.App.Name, capability.AdoptAnyChart)
	}
	return nil
}

// ChartOf is the name of the chart at a URL of a registry.
func ChartOf(url string) string { return path.Base(strings.TrimPrefix(url, "oci://")) }

// KeptBy names what would write an object back, or delete it, whatever harmony does
// with it; "" for nothing.
func KeptBy(o *unstructured.Unstructured) string {
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	for _, controller := range []struct{ kind, domain string }{
		{"Kustomization", "kustomize.toolkit.fluxcd.io"}, {"HelmRelease", "helm.toolkit.fluxcd.io"}, {"ResourceSet", "resourceset.fluxcd.controlplane.io"},
	} {
		if name := labels[controller.domain+"/name"]; name != "" {
			return controller.kind + " " + labels[controller.domain+"/namespace"] + "/" + name
		}
	}
	if application, _, found := strings.Cut(annotations["argocd.argoproj.io/tracking-id"], ":"); found {
		return "Application " + strings.ReplaceAll(application, "_", "/")
	}
	if release := annotations["meta.helm.sh/release-name"]; release != "" {
		return "Helm release " + annotations["meta.helm.sh/release-namespace"] + "/" + release
	}
	for _, owner := range o.GetOwnerReferences() {
		return owner.Kind + " " + owner.Name
	}
	return ""
}

// KeptError is the error for something that another would write back.
func KeptError(what, by string) error {
	return protocol.Unsupported("%s belongs to %s, which would write it back", what, by).
		WithHint("take it out of %s first, so that it stays on the cluster, or change it there", by)
}

// Managers are the field managers of what an object says, beside its metadata and its
// status.
func Managers(o *unstructured.Unstructured) []string {
	var names []string
	for _, f := range o.GetManagedFields() {
		var owned map[string]json.RawMessage
		if f.Subresource != "" || f.FieldsV1 == nil || json.Unmarshal(f.FieldsV1.GetRawBytes(), &owned) != nil {
			continue
		}
		delete(owned, "f:metadata")
		delete(owned, "f:status")
		if len(owned) > 0 && !slices.Contains(names, f.Manager) {
			names = append(names, f.Manager)
		}
	}
	if len(names) == 0 {
		return []string{"somebody else"}
	}
	return names
}
