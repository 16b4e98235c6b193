package argocd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	oldDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	newDigest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// newFanout is one to so many clusters, without a way to Argo CD.
func newFanout(t *testing.T, clusters int) *fanout {
	t.Helper()
	f := &fanout{
		deployment: &deployment{
			Call: delivery.Call{
				Cluster: &delivery.Cluster{Conn: &conn.Conn{Namespace: "fleet"}},
				App:     protocol.AppSpec{Metadata: protocol.Metadata{Name: "app", Version: "2.0.0"}}, Target: "production",
				Image:    protocol.ImageRef{Registry: "registry.example.com", Repository: "fleet/app", Digest: newDigest},
				Chart:    protocol.ChartRef{URL: "oci://registry.example.com/charts/app", Digest: newDigest},
				Values:   values.Set{All: map[string]any{"greeting": "{{ .Name }}", "list": []any{"{{x}}", 1}}},
				Progress: func(protocol.Event) {},
			},
			settings: options{project: "default", timeout: time.Minute, namespace: "argocd"},
			argo:     &argo{namespace: "argocd", name: "app-production"},
		},
		multi: protocol.MultiCluster{Namespace: "fleet", Waves: protocol.Waves(1, "50%", "100%"), Parallel: 3},
		ends:  make([]protocol.DeployResult, clusters), each: func(protocol.DeployResult) {},
	}
	var all []conn.Cluster
	for i := range clusters {
		all = append(all, conn.Cluster{Name: fmt.Sprintf("Shop %d", i), Server: fmt.Sprintf("https://shop-%d", i)})
	}
	var err error
	if f.want, err = newWanted(f.deployment); err != nil {
		t.Fatal(err)
	}
	f.members = members("app-production", f.multi, all)
	if f.spec, err = f.setSpec(f.want.release); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSetSpec(t *testing.T) {
	f := newFanout(t, 10)
	elements, _, _ := unstructured.NestedSlice(map[string]any{"generators": f.spec["generators"].([]any)[0]}, "generators", "list", "elements")
	waves := ""
	for _, e := range elements {
		waves += e.(map[string]any)["wave"].(string)
	}
	if waves != "1222233333" {
		t.Errorf("waves %s", waves)
	}
	first := elements[0].(map[string]any)
	if first["server"] != "https://shop-0" || !strings.HasPrefix(first["application"].(string), "app-production-shop-0-") {
		t.Errorf("the first element is %v", first)
	}
	steps, _, _ := unstructured.NestedSlice(f.spec, "strategy", "rollingSync", "steps")
	if len(steps) != 3 || fmt.Sprint(steps[1]) != "map[matchExpressions:[map[key:harmony.nationtech.io/wave operator:In values:[2]]] maxUpdate:3]" {
		t.Errorf("steps %v", steps)
	}
	greeting, _, _ := unstructured.NestedString(f.spec, "template", "spec", "source", "helm", "valuesObject", "greeting")
	if greeting != "{{`{{`}} .Name }}" {
		t.Errorf("a value is %q: Argo CD would take it for a template", greeting)
	}
	if name, _, _ := unstructured.NestedString(f.spec, "template", "metadata", "name"); name != "{{.application}}" {
		t.Errorf("name %s", name)
	}
	set := &appSet{Unstructured: &unstructured.Unstructured{Object: map[string]any{"spec": f.spec}}}
	other, err := f.setSpec(release{Source: map[string]any{"targetRevision": oldDigest}})
	if err != nil || !set.wants(f.spec) || set.wants(other) {
		t.Errorf("wants: %t, another release %t, %v", set.wants(f.spec), set.wants(other), err)
	}
}

func TestSlug(t *testing.T) {
	for _, name := range []string{"eu-1", "EU", "arn:aws:eks:eu-west-1:1:cluster/x", strings.Repeat("a", 80), "ümlaut", "-", "https://10.0.0.1:6443"} {
		made := slug(name)
		if !protocol.ValidName(made) || slug(name+"x") == made {
			t.Errorf("%q becomes %q, and %q %q", name, made, name+"x", slug(name+"x"))
		}
	}
	if slug("eu-1") != "eu-1" {
		t.Error("a good name is changed")
	}
}

// applicationOf is what Argo CD makes of a member that runs the release.
func (f *fanout) applicationFor(t *testing.T, change func(map[string]any)) *application {
	t.Helper()
	object, err := plain(map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{marks.Image: f.want.Image}},
		"spec":     map[string]any{"source": f.want.Source},
		"status": map[string]any{
			"reconciledAt": metav1.Now().Format(time.RFC3339), "health": map[string]any{"status": "Healthy"},
			"sync":           map[string]any{"status": "Synced", "revision": newDigest, "comparedTo": map[string]any{"source": f.want.Source}},
			"operationState": map[string]any{"phase": "Succeeded", "finishedAt": metav1.NewTime(time.Now().Add(-time.Minute)).Format(time.RFC3339)},
			"summary":        map[string]any{"images": []any{"registry.example.com/fleet/app@" + newDigest, "other@" + oldDigest}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(object)
	}
	a, err := api.New(&unstructured.Unstructured{Object: object})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// with sets a field of an object.
func with(value any, path ...string) func(map[string]any) {
	return func(object map[string]any) {
		if err := unstructured.SetNestedField(object, value, path...); err != nil {
			panic(err)
		}
	}
}

func TestWhatRunsOnAMember(t *testing.T) {
	f := newFanout(t, 2)
	if !f.runs(f.applicationFor(t, nil), f.want.release) {
		t.Error("what is in force and healthy does not run")
	}
	for name, change := range map[string]func(map[string]any){
		"another release wanted": with(oldDigest, "spec", "source", "targetRevision"),
		"out of sync":            with("OutOfSync", "status", "sync", "status"),
		"other values compared":  with("old", "status", "sync", "comparedTo", "source", "helm", "valuesObject", "greeting"),
		"another revision":       with(oldDigest, "status", "sync", "revision"),
		"unhealthy":              with("Progressing", "status", "health", "status"),
		"an old pod":             with([]any{"registry.example.com/fleet/app@" + oldDigest, "registry.example.com/fleet/app@" + newDigest}, "status", "summary", "images"),
		"an operation":           with(map[string]any{"sync": map[string]any{}}, "operation"),
		"stale health":           with(time.Now().Add(-time.Hour).Format(time.RFC3339), "status", "reconciledAt"),
		"a condition":            with([]any{map[string]any{"type": "ComparisonError", "message": "no"}}, "status", "conditions"),
	} {
		if f.runs(f.applicationFor(t, change), f.want.release) {
			t.Errorf("%s: it is taken for done", name)
		}
	}
	if f.runs(nil, f.want.release) {
		t.Error("no Application is taken for done")
	}
}

func TestTroubleOfAMember(t *testing.T) {
	f := newFanout(t, 2)
	now := time.Now().Add(-time.Second)
	failed := func(at time.Time) func(map[string]any) {
		return with(map[string]any{"phase": "Failed", "message": "one or more objects failed to apply", "finishedAt": at.Format(time.RFC3339)}, "status", "operationState")
	}
	for _, c := range []struct {
		name    string
		change  func(map[string]any)
		says    string
		lasting bool
	}{
		{"none", nil, "", false},
		{"a sync that failed now", failed(time.Now().Add(time.Second)), "failed to apply", false},
		{"one that failed before", failed(now.Add(-time.Hour)), "failed to apply", true},
		{"one that is tried again", func(object map[string]any) {
			failed(time.Now())(object)
			with("Running", "status", "operationState", "phase")(object)
		}, "failed to apply", true},
		{"a sync of another release that failed", func(object map[string]any) {
			failed(now.Add(-time.Hour))(object)
			with(map[string]any{"source": map[string]any{"targetRevision": oldDigest}}, "status", "operationState", "syncResult")(object)
		}, "", false},
		{"a condition", with([]any{map[string]any{"type": "ComparisonError", "message": "no chart"}}, "status", "conditions"), "no chart", true},
		{"degraded", with("Degraded", "status", "health", "status"), "degraded", true},
	} {
		why, lasting := f.trouble(f.applicationFor(t, c.change), f.want.release, now)
		if !strings.Contains(why, c.says) || (why == "") != (c.says == "") || lasting != c.lasting {
			t.Errorf("%s: %q, %t", c.name, why, lasting)
		}
	}
}

// The controller of ApplicationSets asks for a sync anew as soon as one has
// failed: two that failed are certain, however short their end is seen.
func TestSyncThatFailsAgain(t *testing.T) {
	f := newFanout(t, 1)
	now := time.Now().Truncate(time.Second)
	s := &steps{fanout: f, release: f.want.release, began: now, bad: map[int]time.Time{}, failed: map[int]time.Time{}}
	running := func(ended time.Time) *application {
		return f.applicationFor(t, with(map[string]any{"phase": "Running", "message": "no", "finishedAt": ended.Format(time.RFC3339)}, "status", "operationState"))
	}
	for _, c := range []struct {
		name string
		a    *application
		want bool
	}{
		{"an old one", running(now.Add(-time.Minute)), false},
		{"the first", running(now.Add(time.Second)), false},
		{"the same once more", running(now.Add(time.Second)), false},
		{"the next", running(now.Add(5 * time.Second)), true},
	} {
		if why := s.failure(0, c.a); (why != "") != c.want {
			t.Errorf("%s: %q", c.name, why)
		}
	}
	s = &steps{fanout: f, release: f.want.release, began: now, bad: map[int]time.Time{0: now.Add(-time.Minute)}, failed: map[int]time.Time{}}
	if s.failure(0, running(now.Add(time.Second))) == "" {
		t.Error("what is wrong for a minute is no failure")
	}
}
