package protocol_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// valid is an app without a problem, to break one thing at a time.
func valid() protocol.AppSpec {
	return protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "fleet-operator", Version: "1.4.0"},
		Image:    protocol.ImageSource{Buildable: &protocol.Buildable{Type: "go"}},
		Chart:    protocol.ChartSource{Path: "charts/operator", Image: protocol.ImagePlaces{{Value: "image"}}},
	}
}

// published makes the chart of the app one of others.
func published(url, name, version string) func(*protocol.AppSpec) {
	return func(a *protocol.AppSpec) {
		a.Image, a.Chart = protocol.ImageSource{}, protocol.ChartSource{URL: url, Name: name, Version: version}
	}
}

func httpCheck(c protocol.HTTPCheck) []protocol.SmokeCheck {
	return []protocol.SmokeCheck{{Name: "h", HTTP: &c}}
}

func tcpCheck(c protocol.TCPCheck) []protocol.SmokeCheck {
	return []protocol.SmokeCheck{{Name: "t", TCP: &c}}
}

func TestAppSpecValidate(t *testing.T) {
	type app = protocol.AppSpec
	tests := []struct {
		name   string
		change func(*app)
		fields []string // with a problem, in order
	}{
		{"nothing wrong", func(*app) {}, nil},
		{"no version", func(a *app) { a.Version = "" }, nil},
		{"no name", func(a *app) { a.Name = "" }, []string{"metadata.name"}},
		{"upper case", func(a *app) { a.Name = "Fleet" }, []string{"metadata.name"}},
		{"longest name", func(a *app) { a.Name = strings.Repeat("a", 53) }, nil},
		{"long name", func(a *app) { a.Name = strings.Repeat("a", 54) }, []string{"metadata.name"}},
		{"dash at the end", func(a *app) { a.Name = "fleet-" }, []string{"metadata.name"}},
		{"version with v", func(a *app) { a.Version = "v1.4.0" }, []string{"metadata.version"}},
		{"short version", func(a *app) { a.Version = "1.4" }, []string{"metadata.version"}},
		{"whole version", func(a *app) { a.Version = "1.4.0-rc.1+build.5" }, nil},
		{"no image for its place", func(a *app) { a.Image = protocol.ImageSource{} }, []string{"spec.image"}},
		{"no image", func(a *app) { a.Image, a.Chart.Image = protocol.ImageSource{}, nil }, nil},
		{"an image of nothing", func(a *app) { a.Image, a.Chart.Image = protocol.ImageSource{Repository: "a"}, nil }, []string{"spec.image"}},
		{"no image for a generated chart", func(a *app) {
			a.Image, a.Chart = protocol.ImageSource{}, protocol.ChartSource{Builder: &protocol.ChartBuilder{}}
		}, []string{"spec.image"}},
		{"chart of a registry", published("oci://registry.example.com/charts/redis", "", "20.1.0"), nil},
		{"chart of a repository", published("https://charts.example.com/stable", "redis", "v20.1.0"), nil},
		{"chart of a repository on this machine", published("http://127.0.0.1:8080", "redis", "20.1.0"), nil},
		{"chart by plain http", published("http://charts.example.com", "redis", "20.1.0"), []string{"spec.chart.url"}},
		{"chart of a file", published("file:///charts", "redis", "20.1.0"), []string{"spec.chart.url"}},
		{"chart with a password", published("https://a:b@charts.example.com", "redis", "20.1.0"), []string{"spec.chart.url"}},
		{"chart with a query", published("https://charts.example.com?a=b", "redis", "20.1.0"), []string{"spec.chart.url"}},
		{"chart of a registry alone", published("oci://registry.example.com", "", "20.1.0"), []string{"spec.chart.url"}},
		{"chart of a registry with a tag", published("oci://registry.example.com/charts/redis:20.1.0", "", "20.1.0"), []string{"spec.chart.url"}},
		{"chart of a registry with a name", published("oci://registry.example.com/charts/redis", "redis", "20.1.0"), []string{"spec.chart.name"}},
		{"chart of a repository without a name", published("https://charts.example.com", "", "20.1.0"), []string{"spec.chart.name"}},
		{"chart with a path for a name", published("https://charts.example.com", "../redis", "20.1.0"), []string{"spec.chart.name"}},
		{"chart of no version", published("oci://registry.example.com/charts/redis", "", ""), []string{"spec.chart.version"}},
		{"chart of many versions", published("oci://registry.example.com/charts/redis", "", "^20"), []string{"spec.chart.version"}},
		{"chart of others with an image", func(a *app) {
			a.Chart = protocol.ChartSource{URL: "oci://registry.example.com/charts/redis", Version: "20.1.0", Image: protocol.ImagePlaces{{Value: "image"}}}
		}, []string{"spec.chart.image", "spec.image"}},
		{"locked to nothing", func(a *app) {
			published("oci://registry.example.com/charts/redis", "", "20.1.0")(a)
			a.Chart.Locked = &protocol.LockedChart{Digest: "20.1.0"}
		}, []string{"spec.chart.locked.digest"}},
		{"locked to plain http", func(a *app) {
			published("https://charts.example.com", "redis", "20.1.0")(a)
			a.Chart.Locked = &protocol.LockedChart{Digest: "sha256:" + strings.Repeat("a", 64), Archive: "http://example.com/redis.tgz"}
		}, []string{"spec.chart.locked.archive"}},
		{"a keyring outside", func(a *app) {
			published("oci://registry.example.com/charts/redis", "", "20.1.0")(a)
			a.Chart.Keyring = "../keys"
		}, []string{"spec.chart.keyring"}},
		{"a version of a chart in the project", func(a *app) { a.Chart.Version = "1.0.0" }, []string{"spec.chart.version"}},
		{"two images", func(a *app) { a.Image.Dockerfile = &protocol.Dockerfile{} }, []string{"spec.image"}},
		{"repository", func(a *app) { a.Image.Repository = "Fleet:x" }, []string{"spec.image.repository"}},
		{"buildable", func(a *app) { a.Image.Buildable = &protocol.Buildable{Main: "/etc"} }, []string{"spec.image.buildable.main", "spec.image.buildable.type"}},
		{"all of a program", func(a *app) {
			a.Image.Buildable = &protocol.Buildable{
				Type: "go", Base: "gcr.io/distroless/static:nonroot@sha256:" + strings.Repeat("a", 64), Files: map[string]string{"ui": "/home/app/ui", "a b.yaml": "/etc/app/", "b.yaml": "/etc/app/"},
				WorkingDir: "/home/app", Env: map[string]string{"A_1": `"$x \y"`}, Entrypoint: "/home/app/operator", User: "app:1000", CGO: true,
			}
		}, nil},
		{"nothing of a program", func(a *app) {
			a.Image.Buildable = &protocol.Buildable{
				Type: "go", Base: "a b", Files: map[string]string{"../ui": "/ui", "a": "home", "b": "/x", "c": "/x", "d": "/a/../b", "e": "/$HOME"},
				WorkingDir: "app", Env: map[string]string{"A-B": "x", "LINES": "a\nb"}, Entrypoint: "bin/../x", User: "Root User",
			}
		}, []string{
			"spec.image.buildable.base", "spec.image.buildable.entrypoint", "spec.image.buildable.env.A-B", "spec.image.buildable.env.LINES", "spec.image.buildable.files.../ui",
			"spec.image.buildable.files.a", "spec.image.buildable.files.c", "spec.image.buildable.files.d", "spec.image.buildable.files.e",
			"spec.image.buildable.user", "spec.image.buildable.workingDir",
		}},
		{"dockerfile", func(a *app) {
			a.Image = protocol.ImageSource{Dockerfile: &protocol.Dockerfile{Path: "../Dockerfile", Context: "/"}}
		}, []string{"spec.image.dockerfile.context", "spec.image.dockerfile.path"}},
		{"platforms", func(a *app) { a.Image.Platforms = []string{"linux/amd64", "linux", "linux/amd64", "linux/arm/v7"} }, []string{"spec.image.platforms[1]", "spec.image.platforms[2]"}},
		{"no chart", func(a *app) { a.Chart.Path = "" }, []string{"spec.chart.path"}},
		{"chart outside", func(a *app) { a.Chart.Path = "charts/../../x" }, []string{"spec.chart.path"}},
		{"no place for the image", func(a *app) { a.Chart.Image = nil }, nil},
		{"value and more", func(a *app) { a.Chart.Image[0].Tag = "tag" }, []string{"spec.chart.image"}},
		{"repository and tag", func(a *app) {
			a.Chart.Image = protocol.ImagePlaces{{Registry: "image.registry", Repository: "image.repository", Tag: "image.tag"}}
		}, nil},
		{"repository alone", func(a *app) { a.Chart.Image = protocol.ImagePlaces{{Repository: "image.repository"}} }, []string{"spec.chart.image"}},
		{"tag and digest alone", func(a *app) { a.Chart.Image = protocol.ImagePlaces{{Tag: "image.tag", Digest: "image.digest"}} }, []string{"spec.chart.image"}},
		{"repository and digest", func(a *app) {
			a.Chart.Image = protocol.ImagePlaces{{Repository: "image.repository", Digest: "image.digest"}}
		}, nil},
		{"path of a value", func(a *app) { a.Chart.Image[0].Value = "image..x" }, []string{"spec.chart.image.value"}},
		{"target", func(a *app) {
			a.Targets = map[string]protocol.TargetValues{"Prod": {}, "staging": {ValuesFiles: []string{"a.yaml", "../b.yaml"}}}
		}, []string{"spec.targets.Prod", "spec.targets.staging.valuesFiles[1]"}},
		{"depends on", func(a *app) { a.DependsOn = []string{"fleet-callout", "fleet-operator", "fleet-callout", "X"} }, []string{"spec.dependsOn[1]", "spec.dependsOn[2]", "spec.dependsOn[3]"}},
		{"check without name and kind", func(a *app) { a.Smoke = []protocol.SmokeCheck{{}} }, []string{"spec.smoke[0]", "spec.smoke[0].name"}},
		{"check of two kinds", func(a *app) {
			a.Smoke = []protocol.SmokeCheck{{Name: "x", Rollout: &protocol.RolloutCheck{}, TCP: &protocol.TCPCheck{Service: "a"}}}
		}, []string{"spec.smoke[0]"}},
		{"two checks of a name", func(a *app) {
			a.Smoke = []protocol.SmokeCheck{{Name: "x", Rollout: &protocol.RolloutCheck{}}, {Name: "x", Rollout: &protocol.RolloutCheck{}}}
		}, []string{"spec.smoke[1].name"}},
		{"negative numbers", func(a *app) {
			a.Smoke = []protocol.SmokeCheck{{Name: "x", Rollout: &protocol.RolloutCheck{}, Timeout: -1, Interval: -1, Successes: -1}}
		}, []string{"spec.smoke[0].interval", "spec.smoke[0].successes", "spec.smoke[0].timeout"}},
		{"http", func(a *app) { a.Smoke = httpCheck(protocol.HTTPCheck{Service: "a", Path: "/x?y=1"}) }, nil},
		{"http to nowhere", func(a *app) { a.Smoke = httpCheck(protocol.HTTPCheck{}) }, []string{"spec.smoke[0].http"}},
		{"http to both", func(a *app) { a.Smoke = httpCheck(protocol.HTTPCheck{Service: "a", URL: "http://b"}) }, []string{"spec.smoke[0].http"}},
		{"http service", func(a *app) {
			a.Smoke = httpCheck(protocol.HTTPCheck{Service: "a/b", Port: 65536, Scheme: "ftp", Path: "x"})
		},
			[]string{"spec.smoke[0].http.path", "spec.smoke[0].http.port", "spec.smoke[0].http.scheme", "spec.smoke[0].http.service"}},
		{"relative URL", func(a *app) { a.Smoke = httpCheck(protocol.HTTPCheck{URL: "b/c"}) }, []string{"spec.smoke[0].http.url"}},
		{"other URL", func(a *app) { a.Smoke = httpCheck(protocol.HTTPCheck{URL: "file:///etc/passwd"}) }, []string{"spec.smoke[0].http.url"}},
		{"URL with credentials", func(a *app) { a.Smoke = httpCheck(protocol.HTTPCheck{URL: "https://a:b@c"}) }, []string{"spec.smoke[0].http.url"}},
		{"expectations", func(a *app) {
			a.Smoke = httpCheck(protocol.HTTPCheck{Service: "a", Expect: protocol.HTTPExpect{Status: 99, JSON: []protocol.JSONExpect{{Path: "{.a}"}, {}}}})
		}, []string{"spec.smoke[0].http.expect.json[1].path", "spec.smoke[0].http.expect.status"}},
		{"TLS", func(a *app) {
			a.Smoke = httpCheck(protocol.HTTPCheck{URL: "https://a", TLS: &protocol.TLSConfig{CAFile: "ca.pem"}})
		}, nil},
		{"TLS of a service", func(a *app) {
			a.Smoke = httpCheck(protocol.HTTPCheck{Service: "a", TLS: &protocol.TLSConfig{CAFile: "/ca.pem"}})
		},
			[]string{"spec.smoke[0].http.tls", "spec.smoke[0].http.tls.caFile"}},
		{"tcp", func(a *app) { a.Smoke = tcpCheck(protocol.TCPCheck{Address: "[::1]:443"}) }, nil},
		{"tcp to nowhere", func(a *app) { a.Smoke = tcpCheck(protocol.TCPCheck{Port: 80}) }, []string{"spec.smoke[0].tcp"}},
		{"tcp service", func(a *app) { a.Smoke = tcpCheck(protocol.TCPCheck{Service: "A", Port: -1}) }, []string{"spec.smoke[0].tcp.port", "spec.smoke[0].tcp.service"}},
		{"tcp without port", func(a *app) { a.Smoke = tcpCheck(protocol.TCPCheck{Address: "host"}) }, []string{"spec.smoke[0].tcp.address"}},
		{"tcp without host", func(a *app) { a.Smoke = tcpCheck(protocol.TCPCheck{Address: ":80"}) }, []string{"spec.smoke[0].tcp.address"}},
		{"tcp port of a name", func(a *app) { a.Smoke = tcpCheck(protocol.TCPCheck{Address: "host:https"}) }, []string{"spec.smoke[0].tcp.address"}},
		{"tcp with two ports", func(a *app) { a.Smoke = tcpCheck(protocol.TCPCheck{Address: "host:80", Port: 80}) }, []string{"spec.smoke[0].tcp.port"}},
		{"everything at once", func(a *app) { *a = app{Smoke: httpCheck(protocol.HTTPCheck{}), DependsOn: []string{""}} },
			[]string{"metadata.name", "spec.chart.path", "spec.dependsOn[0]", "spec.image", "spec.smoke[0].http"}},
	}
	for _, test := range tests {
		a := valid()
		test.change(&a)
		if got := fieldsOf(t, a.Validate()); !slices.Equal(got, test.fields) {
			t.Errorf("%s: problems at %q, want %q", test.name, got, test.fields)
		}
	}
}

// fieldsOf lists the fields that a validation complains about.
func fieldsOf(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var found protocol.FieldErrors
	if !errors.As(err, &found) || len(found) == 0 {
		t.Fatalf("error %v is no FieldErrors", err)
	}
	var fields []string
	for _, f := range found {
		fields = append(fields, f.Field)
		if f.Problem == "" || !strings.Contains(err.Error(), f.Field+": "+f.Problem) {
			t.Errorf("%+v is not in %q", f, err)
		}
	}
	return fields
}

func TestTopologyValidate(t *testing.T) {
	in := func(namespace string) protocol.Target {
		return protocol.Target{InCluster: &protocol.InCluster{Namespace: namespace}}
	}
	tests := []struct {
		name     string
		topology protocol.Topology
		fields   []string
	}{
		{"whole", protocol.Topology{
			Metadata:           protocol.Metadata{Name: "ci"},
			OCIRegistry:        &protocol.Provider{Adapter: "oci", URL: "localhost:5001/fleet"},
			ContinuousDelivery: &protocol.Provider{Plugin: "harmony-deploy-spinnaker", URL: "https://spinnaker.example.com"},
			Targets:            map[string]protocol.Target{"staging": in("fleet")},
		}, nil},
		{"no name", protocol.Topology{}, []string{"metadata.name"}},
		{"providers", protocol.Topology{
			Metadata:         protocol.Metadata{Name: "ci"},
			ContainerBuilder: &protocol.Provider{},
			OCIRegistry:      &protocol.Provider{Adapter: "oci", URL: "https://registry.example.com"},
			HelmRegistry:     &protocol.Provider{Adapter: "oci", URL: "registry.example.com/Fleet"},
			Smoke:            &protocol.Provider{Plugin: "../smoke"},
		}, []string{"spec.containerBuilder", "spec.helmRegistry.url", "spec.ociRegistry.url", "spec.smoke.plugin"}},
		{"targets", protocol.Topology{
			Metadata: protocol.Metadata{Name: "ci"},
			Targets: map[string]protocol.Target{
				"Bad": in("fleet"), "both": {InCluster: &protocol.InCluster{Namespace: "a"}, EdgeDevice: &protocol.EdgeDevice{Device: "d", Namespace: "a"}},
				"many": {MultiCluster: &protocol.MultiCluster{}}, "none": {}, "space": in("a b"),
			},
		}, []string{"spec.targets.Bad", "spec.targets.both", "spec.targets.many.multiCluster", "spec.targets.many.multiCluster.namespace", "spec.targets.none", "spec.targets.space.inCluster.namespace"}},
		{"edge devices", protocol.Topology{
			Metadata: protocol.Metadata{Name: "ci"},
			Targets: map[string]protocol.Target{
				"a": {EdgeDevice: &protocol.EdgeDevice{}},
				"b": {EdgeDevice: &protocol.EdgeDevice{
					Device: "Kiosk", Group: "shops", Namespace: "fleet", Form: "kustomize", Registry: "https://x", KubeVersion: "new", SecretRef: "a b",
					Reports: &protocol.DeviceReports{Registry: "a/B", Devices: []string{"x", "x", "Y"}, Await: -1, Disabled: true},
				}},
				"c": {EdgeDevice: &protocol.EdgeDevice{Device: "kiosk", Namespace: "fleet", Reports: &protocol.DeviceReports{Devices: []string{"x"}}}},
				"d": {EdgeDevice: &protocol.EdgeDevice{
					Group: "shops", Namespace: "fleet", Form: protocol.EdgeHelmRelease, Registry: "localhost:5000/edge", KubeVersion: "1.34.0", SecretRef: "registry",
					Reports: &protocol.DeviceReports{Registry: "registry.example.com", Devices: []string{"x", "y"}, Await: 1},
				}},
			},
		}, []string{
			"spec.targets.a.edgeDevice", "spec.targets.a.edgeDevice.namespace",
			"spec.targets.b.edgeDevice", "spec.targets.b.edgeDevice.device", "spec.targets.b.edgeDevice.form", "spec.targets.b.edgeDevice.kubeVersion",
			"spec.targets.b.edgeDevice.registry", "spec.targets.b.edgeDevice.reports.await", "spec.targets.b.edgeDevice.reports.devices[1]",
			"spec.targets.b.edgeDevice.reports.devices[2]", "spec.targets.b.edgeDevice.reports.disabled", "spec.targets.b.edgeDevice.reports.registry",
			"spec.targets.b.edgeDevice.secretRef", "spec.targets.c.edgeDevice.reports.devices",
		}},
	}
	for _, test := range tests {
		if got := fieldsOf(t, test.topology.Validate()); !slices.Equal(got, test.fields) {
			t.Errorf("%s: problems at %q, want %q", test.name, got, test.fields)
		}
	}
}
