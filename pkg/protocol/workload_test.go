package protocol_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// shop is the golden app with a workload.
func shop(t *testing.T) protocol.AppSpec {
	t.Helper()
	text, err := os.ReadFile("testdata/appspec-workload.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := protocol.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	app, err := protocol.Decode[protocol.AppSpec](document)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func TestWorkloadFields(t *testing.T) {
	number := func(n int) *int { return &n }
	root := int64(0)
	for _, test := range []struct {
		name   string
		change func(*protocol.Workload)
		field  string
	}{
		{"replicas", func(w *protocol.Workload) { w.Replicas = number(-1) }, "replicas"},
		{"port name", func(w *protocol.Workload) { w.Ports[1].Name = "Web" }, "ports[1].name"},
		{"port name of digits", func(w *protocol.Workload) { w.Ports[1].Name = "80" }, "ports[1].name"},
		{"same port name", func(w *protocol.Workload) { w.Ports[1].Name = "http" }, "ports[1].name"},
		{"port number", func(w *protocol.Workload) { w.Ports[0].Port = 70000 }, "ports[0].port"},
		{"protocol", func(w *protocol.Workload) { w.Ports[0].Protocol = "tcp" }, "ports[0].protocol"},
		{"variable", func(w *protocol.Workload) { w.Env["A-B"] = "" }, "env"},
		{"variable twice", func(w *protocol.Workload) { w.Env["TOKEN"] = "x" }, "envRefs.TOKEN"},
		{"no key", func(w *protocol.Workload) { w.EnvRefs["TOKEN"] = protocol.EnvRef{Secret: "a"} }, "envRefs.TOKEN.key"},
		{"two sources", func(w *protocol.Workload) { w.EnvFrom[0].Secret = "a" }, "envFrom[0]"},
		{"name of a secret", func(w *protocol.Workload) { w.EnvRefs["TOKEN"] = protocol.EnvRef{Secret: "{{ x }}", Key: "a"} }, "envRefs.TOKEN"},
		{"quantity", func(w *protocol.Workload) { w.Resources.Requests["cpu"] = "much" }, "resources.requests.cpu"},
		{"two kinds of probe", func(w *protocol.Workload) { w.ReadinessProbe.Exec = []string{"true"} }, "readinessProbe"},
		{"unknown port of a probe", func(w *protocol.Workload) { w.ReadinessProbe.HTTP.Port = "admin" }, "readinessProbe.http.port"},
		{"path of a probe", func(w *protocol.Workload) { w.ReadinessProbe.HTTP.Path = "x" }, "readinessProbe.http.path"},
		{"relative volume", func(w *protocol.Workload) {
			w.Volumes["tls"] = protocol.Volume{Path: "etc/../..", Secret: "a"}
		}, "volumes.tls.path"},
		{"volume of nothing", func(w *protocol.Workload) { w.Volumes["tls"] = protocol.Volume{Path: "/a"} }, "volumes.tls"},
		{"subPath up", func(w *protocol.Workload) {
			w.Volumes["tls"] = protocol.Volume{Path: "/a", Secret: "a", SubPath: "../x"}
		}, "volumes.tls.subPath"},
		{"claim of both", func(w *protocol.Workload) { w.Volumes["data"].Claim.Name = "x" }, "volumes.data.claim"},
		{"service", func(w *protocol.Workload) { w.Service.Type = "Fast" }, "service.type"},
		{"host", func(w *protocol.Workload) { w.Ingress.Hosts[0].Host = "http://x" }, "ingress.hosts[0].host"},
		{"ingress without a service", func(w *protocol.Workload) { w.Service.Disabled = true }, "ingress"},
		{"autoscaling", func(w *protocol.Workload) { w.Autoscaling.MaxReplicas = 1 }, "autoscaling.maxReplicas"},
		{"budget of both", func(w *protocol.Workload) { w.Disruption.MinAvailable = 1 }, "podDisruptionBudget"},
		{"half a pod", func(w *protocol.Workload) { w.Disruption.MaxUnavailable = 0.5 }, "podDisruptionBudget.maxUnavailable"},
		{"share", func(w *protocol.Workload) { w.Disruption.MaxUnavailable = "250%" }, "podDisruptionBudget.maxUnavailable"},
		{"root", func(w *protocol.Workload) { w.Security.RunAsUser = &root }, "security.runAsUser"},
		{"all capabilities", func(w *protocol.Workload) { w.Security.Capabilities = []string{"ALL"} }, "security.capabilities[0]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			app := shop(t)
			test.change(app.Chart.Workload)
			checkFields(t, app, "spec.chart.workload."+test.field)
		})
	}
}

func checkFields(t *testing.T, app protocol.AppSpec, want ...string) {
	t.Helper()
	var found protocol.FieldErrors
	errors.As(app.Validate(), &found)
	var fields []string
	for _, f := range found {
		fields = append(fields, f.Field)
	}
	if !slices.Equal(fields, want) {
		t.Errorf("problems at %v, want %v:\n%v", fields, want, found)
	}
}

func TestOneSourceOfAChart(t *testing.T) {
	app := shop(t)
	app.Chart.Builder = &protocol.ChartBuilder{Plugin: "../harmony"}
	app.Chart.Image = protocol.ImagePlaces{{Value: "image"}}
	checkFields(t, app, "spec.chart", "spec.chart.builder.plugin", "spec.chart.image")
}

// FuzzWorkload looks that no workload, however odd, ends in a panic.
func FuzzWorkload(f *testing.F) {
	f.Add([]byte(`{"ports":[{"name":"http","port":80}],"podDisruptionBudget":{"minAvailable":"1%"},"volumes":{"a":{"claim":{}}}}`))
	f.Add([]byte(`{"ingress":{"hosts":[{}]},"livenessProbe":{},"podDisruptionBudget":{"maxUnavailable":[]},"security":{"runAsUser":-1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var w protocol.Workload
		if json.Unmarshal(text, &w) != nil {
			t.Skip()
		}
		app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "a"}, Chart: protocol.ChartSource{Workload: &w}}
		if app.Validate() == nil { // it has no image
			t.Error("an app without an image is valid")
		}
	})
}
