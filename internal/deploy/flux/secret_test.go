package flux

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
	"github.com/nationtech/harmony/pkg/protocol"
)

func from(refs ...any) seen {
	spec := map[string]any{}
	if refs != nil {
		spec["valuesFrom"] = refs
	}
	return seen{api.Seen{Unstructured: &unstructured.Unstructured{Object: map[string]any{"kind": "HelmRelease", "spec": spec}}}}
}

func ref(kind, name string) map[string]any { return map[string]any{"kind": kind, "name": name} }

func TestSecretOf(t *testing.T) {
	d := &deployment{Call: delivery.Call{App: protocol.AppSpec{Metadata: protocol.Metadata{Name: "app"}}}}
	for name, c := range map[string]struct {
		release seen
		want    string
	}{
		"values in it":   {from(), ""},
		"our Secret":     {from(ref("Secret", "app-values-0123456789ab")), "app-values-0123456789ab"},
		"another's":      {from(ref("Secret", "db")), ""},
		"a ConfigMap":    {from(ref("ConfigMap", "app-values-0123456789ab")), ""},
		"ours and more":  {from(ref("Secret", "app-values-0123456789ab"), ref("Secret", "db")), ""},
		"something else": {from("app-values-0123456789ab"), ""},
	} {
		if got := d.secretOf(c.release.Unstructured); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Values are in the HelmRelease until some are secret, and in a Secret from then on.
func TestValuesFrom(t *testing.T) {
	d := &deployment{Call: delivery.Call{App: protocol.AppSpec{Metadata: protocol.Metadata{Name: "app"}}}}
	plain := values.Set{Digest: "sha256:1111111111111111"}
	secret := values.Set{Digest: "sha256:2222222222222222", Encrypted: []string{"secrets.yaml"}}
	for name, c := range map[string]struct {
		values values.Set
		now    seen
		chosen string
		want   string
	}{
		"nothing secret":   {plain, seen{}, "", ""},
		"nothing ever was": {plain, from(), "", ""},
		"the first":        {secret, seen{}, "", "app-values-222222222222"},
		"from now on":      {secret, from(), "", "app-values-222222222222"},
		"some were":        {plain, from(ref("Secret", "app-values-222222222222")), "", "app-values-111111111111"},
		"a rollback":       {plain, from(ref("Secret", "app-values-222222222222")), "app-values-x", "app-values-x"},
	} {
		d.Values, d.valuesName = c.values, c.chosen
		got := ""
		if refs := d.valuesFrom(c.now); refs != nil {
			got = d.secretOf(from(refs...).Unstructured)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
