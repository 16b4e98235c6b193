package drift

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/internal/cluster/manifest"
)

// finder is one for a cluster with the objects. Like an API server it merges a
// patch of a dry run and keeps nothing of it.
func finder(t *testing.T, objects ...string) (Finder, *fake.FakeDynamicClient) {
	t.Helper()
	var live []runtime.Object
	for _, text := range objects {
		live = append(live, decoded(t, text))
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	lists := map[schema.GroupVersionResource]string{}
	for _, kind := range []schema.GroupVersionKind{
		{Group: "apps", Version: "v1", Kind: "Deployment"}, {Group: "apps", Version: "v1", Kind: "StatefulSet"},
		{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"}, {Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"},
		{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"},
	} {
		mapper.Add(kind, meta.RESTScopeNamespace)
		plural, _ := meta.UnsafeGuessKindToResource(kind)
		lists[plural] = kind.Kind + "List"
	}
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, live...)
	client.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		p := action.(clienttesting.PatchActionImpl)
		found, err := client.Tracker().Get(p.Resource, p.Namespace, p.Name)
		if err != nil {
			return true, nil, err
		}
		before, err := found.(*unstructured.Unstructured).MarshalJSON()
		if err != nil {
			return true, nil, err
		}
		merged, err := jsonpatch.MergePatch(before, p.Patch)
		if err != nil {
			return true, nil, err
		}
		after := &unstructured.Unstructured{}
		return true, after, after.UnmarshalJSON(merged)
	})
	return Finder{Space: manifest.Space{Dynamic: client, Mapper: mapper, Namespace: "fleet"}}, client
}

// decoded is an object as a client decodes it.
func decoded(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	content, err := yaml.YAMLToJSON([]byte(text))
	o := &unstructured.Unstructured{}
	if err == nil {
		err = o.UnmarshalJSON(content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// workload is an object with replicas, and with more metadata.
func workload(apiVersion, kind, replicas, metadata string) string {
	if replicas != "" {
		replicas = "replicas: " + replicas
	}
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: app, namespace: fleet%s}\nspec: {%s}\n", apiVersion, kind, metadata, replicas)
}

func scaler(apiVersion, kind, of string) string {
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: scaler, namespace: fleet}\nspec: {scaleTargetRef: {%s}}\n", apiVersion, kind, of)
}

func scaledBy(manager string) string {
	return fmt.Sprintf(`, managedFields: [{manager: %s, operation: Update, subresource: scale, fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:replicas": {}}}}]`, manager)
}

var (
	ofDeployment = "apiVersion: apps/v1, kind: Deployment, name: app"
	hpa          = scaler("autoscaling/v2", "HorizontalPodAutoscaler", ofDeployment)
	keda         = scaler("keda.sh/v1alpha1", "ScaledObject", "name: app")
)

func TestKeepReplicas(t *testing.T) {
	deployed := workload("apps/v1", "Deployment", "3", "")
	for name, c := range map[string]struct {
		live          []string
		before, after []string
		forbidden     bool
		kind          string // Deployment, unless it says another
		replicas      string // what the chart wants, "1" unless it says another
		want          any
	}{
		"autoscaled":                  {live: []string{deployed, hpa}, want: int64(3)},
		"autoscaled, v1 in the chart": {live: []string{deployed}, after: []string{strings.Replace(hpa, "v2", "v1", 1)}, want: int64(3)},
		"the chart has no replicas":   {live: []string{deployed, hpa}, replicas: "none", want: int64(3)},
		"scaled to zero":              {live: []string{workload("apps/v1", "Deployment", "0", ""), keda}, want: int64(0)},
		"a StatefulSet": {
			live: []string{workload("apps/v1", "StatefulSet", "3", ""), scaler("autoscaling/v2", "HorizontalPodAutoscaler", "apiVersion: apps/v1, kind: StatefulSet, name: app")},
			kind: "StatefulSet", want: int64(3),
		},
		"a custom resource": {
			live: []string{workload("argoproj.io/v1alpha1", "Rollout", "3", ""), scaler("autoscaling/v2", "HorizontalPodAutoscaler", "apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: app")},
			kind: "Rollout", want: int64(3),
		},
		"by KEDA":                         {live: []string{deployed, keda}, want: int64(3)},
		"nothing scales it":               {live: []string{deployed}, want: int64(1)},
		"another is scaled":               {live: []string{deployed, strings.Replace(hpa, "name: app", "name: other", 1)}, want: int64(1)},
		"another group's is scaled":       {live: []string{deployed, strings.Replace(hpa, "apps/v1", "example.com/v1", 1)}, want: int64(1)},
		"not there yet":                   {live: []string{hpa}, want: int64(1)},
		"the autoscaler is to go":         {live: []string{deployed, hpa}, before: []string{hpa}, want: int64(1)},
		"the autoscaler stays":            {live: []string{deployed, hpa}, before: []string{hpa}, after: []string{hpa}, want: int64(3)},
		"scaled by hand":                  {live: []string{workload("apps/v1", "Deployment", "3", scaledBy("kubectl"))}, want: int64(1)},
		"scaled by an autoscaler of old":  {live: []string{workload("apps/v1", "Deployment", "3", scaledBy("kube-controller-manager"))}, want: int64(1)},
		"autoscalers may not be seen":     {live: []string{workload("apps/v1", "Deployment", "3", scaledBy("kube-controller-manager")), hpa}, forbidden: true, want: int64(3)},
		"an autoscaler that is not known": {live: []string{workload("apps/v1", "Deployment", "3", scaledBy("cron-autoscaler"))}, want: int64(3)},
	} {
		t.Run(name, func(t *testing.T) {
			f, client := finder(t, c.live...)
			if c.forbidden {
				client.PrependReactor("list", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
					return true, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), "", nil)
				})
			}
			version, kind := "apps/v1", c.kind
			switch kind {
			case "":
				kind = "Deployment"
			case "Rollout":
				version = "argoproj.io/v1alpha1"
			}
			replicas := "1"
			if c.replicas == "none" {
				replicas = ""
			}
			object := decoded(t, workload(version, kind, replicas, ""))
			after := []*unstructured.Unstructured{object}
			for _, text := range c.after {
				after = append(after, decoded(t, text))
			}
			var before []*unstructured.Unstructured
			for _, text := range c.before {
				before = append(before, decoded(t, text))
			}
			kept, err := f.KeepReplicas(t.Context(), before, after)
			got, _, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", "replicas")
			if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) || (len(kept) > 0) != (fmt.Sprint(c.want) != "1") {
				t.Errorf("%v replicas, told %q, error %v, want %v", got, kept, err, c.want)
			}
		})
	}
}

func TestReplicasOfAnAutoscalerAreNoDrift(t *testing.T) {
	wanted := read(t, deployment)
	live := strings.Replace(deployment, "replicas: 2", "replicas: 5", 1)
	for name, c := range map[string]struct {
		live []string
		want []string
	}{
		"scaled by hand":        {[]string{live}, []string{"Deployment app was changed"}},
		"autoscaled":            {[]string{live, hpa}, nil},
		"autoscaled by KEDA":    {[]string{live, keda}, nil},
		"and changed besides":   {[]string{strings.Replace(live, "image: one", "image: two", 1), hpa}, []string{"Deployment app was changed"}},
		"autoscaled, and gone":  {[]string{hpa}, []string{"Deployment app is gone"}},
		"an autoscaler of none": {[]string{live, strings.Replace(hpa, "Deployment", "StatefulSet", 1)}, []string{"Deployment app was changed"}},
	} {
		f, _ := finder(t, c.live...)
		if got, err := f.Find(t.Context(), []*unstructured.Unstructured{wanted}); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: drift %q, error %v, want %q", name, got, err, c.want)
		}
	}
}

// Scaled are named by autoscalers on the cluster or in the chart, with what they
// were left at where they are.
// A Deployment that a Canary or a Rollout has its pods' template of is scaled by their
// controllers.
func TestReplicasOfAStepwiseRolloutAreNoDrift(t *testing.T) {
	live := strings.Replace(deployment, "replicas: 2", "replicas: 0", 1)
	for field, want := range map[string][]string{
		"kind: Rollout, spec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: app}": nil,
		"kind: Rollout, spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: app}":   nil,
		"kind: Rollout, spec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: b}":   {"Deployment app was changed"},
		"kind: Rollout, spec: {replicas: 1":                                                     {"Deployment app was changed"},
	} {
		by := "{apiVersion: argoproj.io/v1alpha1, metadata: {name: by, namespace: fleet}, " + field + "}}"
		f, _ := finder(t, live, by)
		if got, err := f.Find(t.Context(), []*unstructured.Unstructured{read(t, deployment), decoded(t, by)}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", field, got, err, want)
		}
	}
	canary := decoded(t, "{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {name: by, namespace: fleet}, spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: app}}}")
	if s := (Finder{}).scalers(nil, []*unstructured.Unstructured{canary}); !s.scaledDown(read(t, deployment)) {
		t.Error("the Deployment of a Canary is not known")
	}
}

func TestScaled(t *testing.T) {
	const object = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s, namespace: fleet}\nspec: {replicas: %d}\n"
	const scaler = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: %s, namespace: fleet}\nspec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %s}}\n"
	f, _ := finder(t, fmt.Sprintf(object, "web", 5), fmt.Sprintf(object, "fixed", 6), fmt.Sprintf(scaler, "h", "web"))
	chart := []*unstructured.Unstructured{
		decoded(t, fmt.Sprintf(object, "web", 1)), decoded(t, fmt.Sprintf(object, "fixed", 1)), decoded(t, fmt.Sprintf(object, "new", 1)),
		decoded(t, fmt.Sprintf(scaler, "n", "new")),
	}
	found, err := f.Scaled(t.Context(), append(chart, chart[0]))
	var got []string
	for _, s := range found {
		replicas := "none"
		if s.Replicas != nil {
			replicas = fmt.Sprint(*s.Replicas)
		}
		got = append(got, s.APIVersion+" "+s.Kind+" "+s.Name+" "+replicas)
	}
	slices.Sort(got)
	if want := []string{"apps/v1 Deployment new none", "apps/v1 Deployment web 5"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if own := ScaledBy(chart); len(own) != 1 || own[0].Name != "new" {
		t.Errorf("by the chart's own: %+v", own)
	}
}
