package protocol_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestSmokeCheckValidate(t *testing.T) {
	one := 1.0
	minus := -1.0
	ready := protocol.SmokeCheck{Name: "ready", Rollout: &protocol.RolloutCheck{}}
	needing := func(name string, needs ...string) protocol.SmokeCheck {
		return protocol.SmokeCheck{Name: name, Rollout: &protocol.RolloutCheck{}, Needs: needs}
	}
	for name, c := range map[string]struct {
		checks []protocol.SmokeCheck
		want   []string
	}{
		"needs":                     {[]protocol.SmokeCheck{ready, needing("b", "ready"), needing("c", "ready", "b")}, nil},
		"needs what is not":         {[]protocol.SmokeCheck{needing("b", "a")}, []string{"spec.smoke[0].needs[0]"}},
		"needs itself":              {[]protocol.SmokeCheck{needing("b", "b")}, []string{"spec.smoke[0].needs[0]"}},
		"needs twice":               {[]protocol.SmokeCheck{ready, needing("b", "ready", "ready")}, []string{"spec.smoke[1].needs[1]"}},
		"needs in a circle":         {[]protocol.SmokeCheck{needing("a", "c"), needing("b", "a"), needing("c", "b")}, []string{"spec.smoke[0].needs[0]", "spec.smoke[1].needs[0]", "spec.smoke[2].needs[0]"}},
		"a kind of others":          {[]protocol.SmokeCheck{{Name: "a", Other: map[string]map[string]any{"sql": {}}}}, nil},
		"a kind, and one of others": {[]protocol.SmokeCheck{{Name: "a", TCP: &protocol.TCPCheck{Address: "a:1"}, Other: map[string]map[string]any{"tpc": {}}}}, []string{"spec.smoke[0]"}},
		"no kind":                   {[]protocol.SmokeCheck{{Name: "a"}}, []string{"spec.smoke[0]"}},
		"job": {[]protocol.SmokeCheck{{Name: "a", Job: &protocol.JobSpec{Image: "A b", Args: []string{"x", "a\x00"}, Env: map[string]string{"A": "1", "B=": ""}, RunAsUser: new(int64),
			EnvRefs: map[string]protocol.EnvRef{"A": {Secret: "s", Key: "k"}}, EnvFrom: []protocol.EnvFrom{{}}, Resources: &protocol.Resources{Limits: map[string]string{"cpu": "much"}}, ServiceAccountName: "A"}}},
			[]string{"spec.smoke[0].job.args[1]", "spec.smoke[0].job.env", "spec.smoke[0].job.envFrom[0]", "spec.smoke[0].job.envRefs.A", "spec.smoke[0].job.image", "spec.smoke[0].job.resources.limits.cpu", "spec.smoke[0].job.runAsUser", "spec.smoke[0].job.serviceAccountName"}},
		"job of two images":         {[]protocol.SmokeCheck{{Name: "a", Job: &protocol.JobSpec{Image: "a:1", AppImage: "b"}}}, []string{"spec.smoke[0].job"}},
		"job of an image not there": {[]protocol.SmokeCheck{{Name: "a", Job: &protocol.JobSpec{AppImage: "b"}}}, []string{"spec.smoke[0].job.appImage"}},
		"job of the own image":      {[]protocol.SmokeCheck{{Name: "a", Job: &protocol.JobSpec{}}}, nil},
		"helmTest":                  {[]protocol.SmokeCheck{{Name: "a", HelmTest: &protocol.HelmTestCheck{Names: []string{"x", "x", "A"}}}}, []string{"spec.smoke[0].helmTest.names[1]", "spec.smoke[0].helmTest.names[2]"}},
		"two kinds": {[]protocol.SmokeCheck{{Name: "a", Exec: &protocol.ExecCheck{Command: []string{"x"}}, Logs: &protocol.LogsCheck{Forbid: []string{"x"}}}},
			[]string{"spec.smoke[0]"}},
		"held longer than there is time": {[]protocol.SmokeCheck{{Name: "a", Rollout: &protocol.RolloutCheck{}, For: 2, Timeout: 2}}, []string{"spec.smoke[0].timeout"}},
		"negative times": {[]protocol.SmokeCheck{{Name: "a", Rollout: &protocol.RolloutCheck{}, For: -1, StartupGrace: -1}},
			[]string{"spec.smoke[0].for", "spec.smoke[0].startupGrace"}},
		"grpc": {[]protocol.SmokeCheck{{Name: "a", GRPC: &protocol.GRPCCheck{Address: "x", TLS: &protocol.TLSConfig{CAFile: "../ca"}}}},
			[]string{"spec.smoke[0].grpc.address", "spec.smoke[0].grpc.tls.caFile"}},
		"resource": {[]protocol.SmokeCheck{{Name: "a", Resource: &protocol.ResourceCheck{APIVersion: "a/b/c", Kind: "pod", Namespace: "A", AtLeast: -1, JSON: []protocol.JSONExpect{{}}}}},
			[]string{"spec.smoke[0].resource", "spec.smoke[0].resource.apiVersion", "spec.smoke[0].resource.atLeast", "spec.smoke[0].resource.atLeast", "spec.smoke[0].resource.json[0].path", "spec.smoke[0].resource.kind", "spec.smoke[0].resource.namespace"}},
		"resource of a name": {[]protocol.SmokeCheck{{Name: "a", Resource: &protocol.ResourceCheck{APIVersion: "v1", Kind: "Pod", Name: "A/b", AtLeast: 1}}},
			[]string{"spec.smoke[0].resource.atLeast", "spec.smoke[0].resource.name"}},
		"resource of a label": {[]protocol.SmokeCheck{{Name: "a", Resource: &protocol.ResourceCheck{APIVersion: "apps/v1", Kind: "Deployment", Selector: map[string]string{"a": "b c"}}}},
			[]string{"spec.smoke[0].resource.selector"}},
		"logs":       {[]protocol.SmokeCheck{{Name: "a", Logs: &protocol.LogsCheck{Forbid: []string{"(", "ok"}, Since: -1}}}, []string{"spec.smoke[0].logs.forbid[0]", "spec.smoke[0].logs.since"}},
		"logs of it": {[]protocol.SmokeCheck{{Name: "a", Logs: &protocol.LogsCheck{}}}, []string{"spec.smoke[0].logs.forbid"}},
		"prometheus": {[]protocol.SmokeCheck{{Name: "a", Prometheus: &protocol.PrometheusCheck{MaxIncrease: &minus}}},
			[]string{"spec.smoke[0].prometheus", "spec.smoke[0].prometheus.maxIncrease", "spec.smoke[0].prometheus.query"}},
		"prometheus by URL": {[]protocol.SmokeCheck{{Name: "a", Prometheus: &protocol.PrometheusCheck{URL: "http://a", Port: 1, Query: "x", Before: 1}}},
			[]string{"spec.smoke[0].prometheus", "spec.smoke[0].prometheus", "spec.smoke[0].prometheus.before"}},
		"prometheus by service": {[]protocol.SmokeCheck{{Name: "a", Prometheus: &protocol.PrometheusCheck{Service: "p", Query: "x", Max: &one, TLS: &protocol.TLSConfig{}}}},
			[]string{"spec.smoke[0].prometheus.tls"}},
		"exec":             {[]protocol.SmokeCheck{{Name: "a", Exec: &protocol.ExecCheck{}}}, []string{"spec.smoke[0].exec.command"}},
		"exec outside":     {[]protocol.SmokeCheck{{Name: "a", Exec: &protocol.ExecCheck{Command: []string{"../x", "a\x00"}}}}, []string{"spec.smoke[0].exec.command[0]", "spec.smoke[0].exec.command[1]"}},
		"a body too many":  {httpCheck(protocol.HTTPCheck{URL: "http://a", Body: "x", BodyFile: "/x"}), []string{"spec.smoke[0].http.bodyFile", "spec.smoke[0].http.bodyFile"}},
		"a header outside": {httpCheck(protocol.HTTPCheck{URL: "http://a", Headers: map[string]string{"X": "file:../x"}}), []string{"spec.smoke[0].http.headers.X"}},
		"redirects of a service": {httpCheck(protocol.HTTPCheck{Service: "a", FollowRedirects: true, Expect: protocol.HTTPExpect{Within: -1, CertificateValidFor: 1}}),
			[]string{"spec.smoke[0].http.expect.certificateValidFor", "spec.smoke[0].http.expect.within", "spec.smoke[0].http.followRedirects"}},
	} {
		t.Run(name, func(t *testing.T) {
			app := protocol.AppSpec{
				Metadata: protocol.Metadata{Name: "shop", Version: "1.0.0"}, ProjectRoot: "/src", Smoke: c.checks,
				Image: protocol.ImageSource{Dockerfile: &protocol.Dockerfile{}}, Chart: protocol.ChartSource{Path: "chart"},
			}
			var got []string
			var problems protocol.FieldErrors
			if errors.As(app.Validate(), &problems) {
				for _, p := range problems {
					got = append(got, p.Field)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("problems at %q, want %q", got, c.want)
			}
		})
	}
}

// Of the fields that a check does not have, objects are kinds, unless their names cannot be
// those of executables or belong to third parties.
func TestSmokeCheckOther(t *testing.T) {
	const text = `{"name":"a","sql":{"query":"1<2"},"Sql":{},"x-own":{},"future":[1],"later":"x"}`
	var check protocol.SmokeCheck
	if err := json.Unmarshal([]byte(text), &check); err != nil {
		t.Fatal(err)
	}
	if len(check.Other) != 1 || check.Other["sql"]["query"] != "1<2" || !slices.Equal(check.Kinds(), []string{"sql"}) {
		t.Errorf("got %+v", check)
	}
	if encoded, err := json.Marshal(check); err != nil || string(encoded) != `{"name":"a","sql":{"query":"1\u003c2"}}` {
		t.Errorf("%s, %v", encoded, err)
	}
	if err := json.Unmarshal([]byte(`{"name":"a","sql":{},"sql":{}}`), &check); err == nil {
		t.Error("a kind that is there twice is taken")
	}
	info := protocol.PluginInfo{Metadata: protocol.Metadata{Name: "old", Version: "1.0.0"}, Stage: "smoke"}
	app := protocol.AppSpec{Smoke: []protocol.SmokeCheck{check}}
	if err := info.CheckApp(app); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("a stage that knows no such kinds takes it: %v", err)
	}
	info.Features = []string{protocol.FeatureChecks}
	if err := info.CheckApp(app); err != nil {
		t.Error(err)
	}
}
