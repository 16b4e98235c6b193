package argocd

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestSettings(t *testing.T) {
	standard := func(change func(*settings)) settings {
		s := settings{
			namespace: "argocd", application: "{app}-{target}", project: "default",
			manage: true, rollback: true, timeout: 5 * time.Minute, setFrom: 100,
		}
		change(&s)
		return s
	}
	for _, c := range []struct {
		name, topology string
		from           map[string]any
		want           settings
	}{
		{"defaults", "production", nil, standard(func(*settings) {})},
		{"no rollback on a laptop", "local", nil, standard(func(s *settings) { s.rollback = false })},
		{"rollback on a laptop", "local", map[string]any{"rollback": true}, standard(func(*settings) {})},
		{"all", "production", map[string]any{
			"namespace": "gitops", "context": "hub", "application": "{target}-{app}", "project": "fleet", "manage": false,
			"destination": map[string]any{"name": "eu"}, "rollback": false, "syncOptions": []any{"ServerSideApply=true"},
			"timeout": "90s", "drift": "report", "applicationSet": 20,
		}, settings{
			namespace: "gitops", context: "hub", application: "{target}-{app}", project: "fleet", name: "eu",
			syncOptions: []string{"ServerSideApply=true"}, report: true, timeout: 90 * time.Second, setFrom: 20,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readSettings(c.from, c.topology)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		name  string
		from  map[string]any
		words []string
	}{
		{"unknown", map[string]any{"namespcae": "x"}, []string{"namespcae is not a setting", `did you mean "namespace"?`}},
		{"no text", map[string]any{"project": true}, []string{"project: true is not a text"}},
		{"empty", map[string]any{"context": ""}, []string{"context:"}},
		{"no bool", map[string]any{"manage": "no"}, []string{"manage: no is neither true nor false"}},
		{"no duration", map[string]any{"timeout": 5.0}, []string{"timeout: 5 is not a duration"}},
		{"negative", map[string]any{"timeout": "-1s"}, []string{"timeout"}},
		{"no list", map[string]any{"syncOptions": "a=b"}, []string{"syncOptions: a=b is not a list"}},
		{"no option", map[string]any{"syncOptions": []any{"ServerSideApply"}}, []string{"ServerSideApply is not an option"}},
		{"destination", map[string]any{"destination": "eu"}, []string{"destination: eu is neither"}},
		{"destination's field", map[string]any{"destination": map[string]any{"sever": "x"}}, []string{"destination.sever", `"server"`}},
		{"both", map[string]any{"destination": map[string]any{"server": "x", "name": "y"}}, []string{"both"}},
		{"drift", map[string]any{"drift": "ignore"}, []string{"drift: ignore is neither repair nor report"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readSettings(c.from, "production")
			if protocol.ExitCode(err) != protocol.ExitInvalid {
				t.Fatalf("%v: exit code %d, want %d", err, protocol.ExitCode(err), protocol.ExitInvalid)
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error()+protocol.HintOf(err), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

func TestLocalChartIsUnsupported(t *testing.T) {
	adapter, err := New(nil)(t.Context(), capability.Environment{
		Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "edge"}}, Progress: func(protocol.Event) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "app"}}
	_, err = adapter.Deploy(context.Background(), app, "staging", protocol.ImageRef{}, protocol.ChartRef{Path: "/tmp/app.tgz"})
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(protocol.HintOf(err), "helmRegistry") {
		t.Errorf("%v (%s): exit code %d, want %d", err, protocol.HintOf(err), protocol.ExitCode(err), protocol.ExitUnsupported)
	}
}

// deploymentFor is a deployment that was not connected to a cluster yet.
func deploymentFor(host, argoHost string, s settings) *deployment {
	return &deployment{
		settings:    s,
		destination: &destination{Conn: connTo(host)},
		argo:        &argo{Conn: connTo(argoHost), namespace: "argocd", name: "app-staging"},
		app:         protocol.AppSpec{Metadata: protocol.Metadata{Name: "app", Version: "1.0.0"}}, target: "staging",
		chart: protocol.ChartRef{URL: "oci://registry/charts/app", Digest: digest("a")},
		image: protocol.ImageRef{Registry: "registry", Repository: "app", Digest: digest("b")},
	}
}

func connTo(host string) *conn.Conn {
	return &conn.Conn{Namespace: "fleet", Config: &rest.Config{Host: host}}
}

func digest(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

func TestPlaces(t *testing.T) {
	const here, there = "https://one:6443", "https://two:6443"
	for _, c := range []struct {
		name, argo string
		settings   settings
		want       []place
	}{
		{"the same cluster", here + "/", settings{}, []place{{Server: here, Namespace: "fleet"}, {Server: inCluster, Namespace: "fleet"}}},
		{"another cluster", there, settings{}, []place{{Server: here, Namespace: "fleet"}}},
		{"by name", here, settings{name: "eu"}, []place{{Name: "eu", Namespace: "fleet"}}},
		{"by server", here, settings{server: there}, []place{{Server: there, Namespace: "fleet"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := deploymentFor(here, c.argo, c.settings).places(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSettingsOfACluster(t *testing.T) {
	for _, c := range []struct {
		from          map[string]any
		cluster, want string
	}{
		{nil, "", "app-production"},
		{nil, "eu-1", "app-production-eu-1"},
		{map[string]any{"application": "x"}, "eu-1", "x-eu-1"},
		{map[string]any{"application": "{cluster}.{app}"}, "eu-1", "eu-1.app"},
		{map[string]any{"application": "{app}-{cluster}"}, "", "app"},
	} {
		s, err := readSettings(c.from, "ci")
		if err == nil {
			err = s.ofCluster(c.cluster)
		}
		if got := s.applicationOf("app", "production"); err != nil || got != c.want {
			t.Errorf("%v on %q: %s, %v, want %s", c.from, c.cluster, got, err, c.want)
		}
	}
	s := settings{server: "https://x"}
	if err := s.ofCluster("eu"); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("one destination for several clusters: %v", err)
	}
	for value, want := range map[any]int{true: 1, false: 0, 7: 7, float64(8): 8} {
		s, err := readSettings(map[string]any{"applicationSet": value}, "ci")
		if err != nil || s.setFrom != want {
			t.Errorf("applicationSet %v: from %d, %v", value, s.setFrom, err)
		}
	}
	for _, value := range []any{0, -1, "yes", nil} {
		if _, err := readSettings(map[string]any{"applicationSet": value}, "ci"); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("applicationSet %v: %v", value, err)
		}
	}
}
