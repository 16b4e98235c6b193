package argocd

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestSettings(t *testing.T) {
	standard := func(change func(*options)) options {
		s := options{
			namespace: "argocd", application: "{app}-{target}", project: "default",
			manage: true, rollback: true, timeout: 5 * time.Minute, setFrom: 100,
		}
		change(&s)
		return s
	}
	for _, c := range []struct {
		name string
		from map[string]any
		want options
	}{
		{"defaults", nil, standard(func(*options) {})},
		{"no rollback", map[string]any{"rollback": false}, standard(func(s *options) { s.rollback = false })},
		{"all", map[string]any{
			"namespace": "gitops", "context": "hub", "application": "{target}-{app}", "project": "fleet", "manage": false,
			"destination": map[string]any{"name": "eu"}, "rollback": false, "syncOptions": []any{"ServerSideApply=true"},
			"timeout": "90s", "drift": "report", "applicationSet": 20,
		}, options{
			namespace: "gitops", context: "hub", application: "{target}-{app}", project: "fleet", name: "eu",
			syncOptions: []string{"ServerSideApply=true"}, report: true, timeout: 90 * time.Second, setFrom: 20,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(c.from)
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
		{"no text", map[string]any{"project": true}, []string{"project must be a string, not true"}},
		{"empty", map[string]any{"context": ""}, []string{"context must be a string"}},
		{"no bool", map[string]any{"manage": "no"}, []string{"manage must be true or false, not no"}},
		{"no duration", map[string]any{"timeout": 5.0}, []string{"timeout must be a duration such as 5m, not 5"}},
		{"negative", map[string]any{"timeout": "-1s"}, []string{"timeout"}},
		{"no list", map[string]any{"syncOptions": "a=b"}, []string{"syncOptions must be a list, not a=b"}},
		{"no option", map[string]any{"syncOptions": []any{"ServerSideApply"}}, []string{"options such as ServerSideApply=true, not ServerSideApply"}},
		{"destination", map[string]any{"destination": "eu"}, []string{"destination must be a mapping, not eu"}},
		{"destination's field", map[string]any{"destination": map[string]any{"sever": "x"}}, []string{"destination.sever", `"server"`}},
		{"both", map[string]any{"destination": map[string]any{"server": "x", "name": "y"}}, []string{"both"}},
		{"drift", map[string]any{"drift": "ignore"}, []string{"drift must be one of report, repair, not ignore"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(c.from)
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
func deploymentFor(host, argoHost string, s options) *deployment {
	return &deployment{
		settings: s,
		Call: delivery.Call{
			Cluster: &delivery.Cluster{Conn: connTo(host)},
			App:     protocol.AppSpec{Metadata: protocol.Metadata{Name: "app", Version: "1.0.0"}}, Target: "staging",
			Chart: protocol.ChartRef{URL: "oci://registry/charts/app", Chart: "app", Digest: digest("a")},
			Image: protocol.ImageRef{Registry: "registry", Repository: "app", Digest: digest("b")},
		},
		argo: &argo{Cluster: &delivery.Cluster{Conn: connTo(argoHost)}, namespace: "argocd", name: "app-staging"},
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
		settings   options
		want       []place
	}{
		{"the same cluster", here + "/", options{}, []place{{Server: here, Namespace: "fleet"}, {Server: inCluster, Namespace: "fleet"}}},
		{"another cluster", there, options{}, []place{{Server: here, Namespace: "fleet"}}},
		{"by name", here, options{name: "eu"}, []place{{Name: "eu", Namespace: "fleet"}}},
		{"by server", here, options{server: there}, []place{{Server: there, Namespace: "fleet"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := deploymentFor(here, c.argo, c.settings).places(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestApplicationOfAPreview(t *testing.T) {
	preview := protocol.InCluster{Namespace: "{app}-{branch}", TTL: protocol.Duration(time.Hour), Preview: &protocol.Preview{Branch: "feature/Cart"}}
	env := capability.Environment{Topology: protocol.Topology{Targets: map[string]protocol.Target{
		"preview": {InCluster: &preview}, "staging": {InCluster: &protocol.InCluster{Namespace: "fleet"}},
	}}}
	for pattern, want := range map[string][2]string{
		"{app}-{target}":          {"app-preview-feature-cart-ba2c426af9", "app-staging"},
		"{app}-{branch}-{target}": {"app-feature-cart-ba2c426af9-preview", "app-staging"},
	} {
		a := adapter{Base: delivery.Base{Env: env}, settings: options{application: pattern}}
		if got := [2]string{a.applicationOf("app", "preview"), a.applicationOf("app", "staging")}; got != want {
			t.Errorf("%s: %v, want %v", pattern, got, want)
		}
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
		s, err := read(c.from)
		if err == nil {
			err = s.ofCluster(c.cluster)
		}
		if got := s.applicationOf("app", "production"); err != nil || got != c.want {
			t.Errorf("%v on %q: %s, %v, want %s", c.from, c.cluster, got, err, c.want)
		}
	}
	s := options{server: "https://x"}
	if err := s.ofCluster("eu"); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("one destination for several clusters: %v", err)
	}
	for value, want := range map[any]int{true: 1, false: 0, 7: 7, float64(8): 8} {
		s, err := read(map[string]any{"applicationSet": value})
		if err != nil || s.setFrom != want {
			t.Errorf("applicationSet %v: from %d, %v", value, s.setFrom, err)
		}
	}
	for _, value := range []any{0, -1, "yes", nil} {
		if _, err := read(map[string]any{"applicationSet": value}); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("applicationSet %v: %v", value, err)
		}
	}
}

func read(from map[string]any) (options, error) {
	return readSettings(capability.Environment{Provider: protocol.Provider{Settings: from}})
}

func TestEncryptedValuesAreRefused(t *testing.T) {
	app := protocol.AppSpec{ProjectRoot: t.TempDir(), Targets: map[string]protocol.TargetValues{"staging": {ValuesFiles: []string{"secrets.yaml"}}}}
	if err := os.WriteFile(filepath.Join(app.ProjectRoot, "secrets.yaml"), []byte("sops: {mac: x, lastmodified: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := (&adapter{}).deployment(delivery.Call{App: app, Target: "staging"}, protocol.ImageRef{}, protocol.ChartRef{})
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "secrets.yaml is encrypted") || protocol.HintOf(err) == "" {
		t.Errorf("error %v with hint %q, want unsupported", err, protocol.HintOf(err))
	}
}
