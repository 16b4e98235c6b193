package prometheusoperator

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// golden is the app of package protocol's golden document.
func golden(t *testing.T) protocol.AppSpec {
	t.Helper()
	text, err := os.ReadFile("../../../pkg/protocol/testdata/appspec-monitoring.json")
	if err != nil {
		t.Fatal(err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		t.Fatal(err)
	}
	document, err := protocol.Parse(line.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	app, err := protocol.Decode[protocol.AppSpec](document)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// objectsOf are the objects of a place by their kinds and names.
func objectsOf(p place) map[string]*unstructured.Unstructured {
	objects := map[string]*unstructured.Unstructured{}
	for _, k := range kinds() {
		for name, spec := range p.wanted()[k.name] {
			objects[k.name+" "+name] = p.object(k, name, spec)
		}
	}
	return objects
}

// The objects of an app that uses every field.
func TestObjects(t *testing.T) {
	text, err := os.ReadFile("testdata/objects.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := place{app: golden(t), target: "staging", namespace: "fleet", labels: map[string]string{"release": "prometheus"}}
	got := objectsOf(p)
	for _, document := range strings.Split(string(text), "\n---\n") {
		want := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &want.Object); err != nil {
			t.Fatal(err)
		}
		key := want.GetKind() + " " + want.GetName()
		if got[key] == nil || !reflect.DeepEqual(got[key].Object, want.Object) {
			made, err := yaml.Marshal(got[key])
			t.Errorf("%s: got\n%s%v", key, made, err)
		}
		delete(got, key)
	}
	for key := range got {
		t.Errorf("%s was not expected", key)
	}
}

// What an app does not say has the convention's value, or none.
func TestDefaults(t *testing.T) {
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop"}, Monitoring: &protocol.Monitoring{
		Metrics: &protocol.Metrics{Port: float64(8080)},
		Alerts:  []protocol.Alert{{Name: "Down", Expr: "up == 0"}},
	}}
	got := objectsOf(place{app: app, namespace: "shop"})
	want := map[string]any{
		"jobLabel":  "app.kubernetes.io/instance",
		"selector":  map[string]any{"matchLabels": map[string]any{"app.kubernetes.io/instance": "shop"}},
		"endpoints": []any{map[string]any{"targetPort": int64(8080), "path": "/metrics"}},
	}
	if have := got["ServiceMonitor shop"].Object["spec"]; !reflect.DeepEqual(have, want) {
		t.Errorf("ServiceMonitor %v, want %v", have, want)
	}
	rule := map[string]any{"alert": "Down", "expr": "up == 0", "labels": map[string]any{"app": "shop", "namespace": "shop", "severity": "warning"}}
	want = map[string]any{"groups": []any{map[string]any{"name": "shop", "rules": []any{rule}}}}
	if have := got["PrometheusRule shop"].Object["spec"]; !reflect.DeepEqual(have, want) {
		t.Errorf("PrometheusRule %v, want %v", have, want)
	}
	if len(got) != 2 || len(objectsOf(place{app: protocol.AppSpec{}})) != 0 {
		t.Errorf("there are %d objects", len(got))
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", time.Millisecond: "1ms", 1500 * time.Millisecond: "1s500ms", 90 * time.Second: "1m30s", 26 * time.Hour: "26h", time.Hour + time.Second: "1h1s",
	} {
		if got := duration(protocol.Duration(d)); got != want {
			t.Errorf("%s is written %q, want %q", d, got, want)
		}
	}
}

func TestSummary(t *testing.T) {
	list := func(changes ...protocol.Change) (objects []protocol.MonitoringObject) {
		for _, c := range changes {
			objects = append(objects, protocol.MonitoringObject{Change: c})
		}
		return objects
	}
	for _, test := range []struct {
		objects   []protocol.MonitoringObject
		dryRun    bool
		want      string
		unchanged bool
	}{
		{nil, false, "nothing to watch", true},
		{list("unchanged"), false, "unchanged: 1 object", true},
		{list("created", "created", "unchanged", "removed"), false, "created 2, removed 1 of 4 objects", false},
		{list("created", "updated"), true, "would create 1, update 1 of 2 objects", false},
	} {
		if got, unchanged := summarize(test.objects, test.dryRun); got != test.want || unchanged != test.unchanged {
			t.Errorf("%v: got %q, %t; want %q, %t", test.objects, got, unchanged, test.want, test.unchanged)
		}
	}
}

func TestSettings(t *testing.T) {
	with := func(from map[string]any) capability.Environment {
		return capability.Environment{Provider: protocol.Provider{Settings: from}}
	}
	s, err := readSettings(with(map[string]any{"labels": map[string]any{"release": "prometheus"}}))
	if err != nil || s.labels["release"] != "prometheus" {
		t.Errorf("got %+v, %v", s, err)
	}
	for says, from := range map[string]map[string]any{
		"spec.monitoring.settings: label is not a setting":    {"label": 1},
		"labels must be a mapping":                            {"labels": 7},
		"labels.tier must be labels":                          {"labels": map[string]any{"tier": int64(1)}},
		"labels.harmony.nationtech.io/app must be labels oth": {"labels": map[string]any{"harmony.nationtech.io/app": "x"}},
	} {
		_, err := readSettings(with(from))
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: got %v", from, err)
		}
	}
}
