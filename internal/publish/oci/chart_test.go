package oci

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"helm.sh/helm/v3/pkg/chart/loader"
	helm "helm.sh/helm/v3/pkg/registry"

	"github.com/nationtech/harmony/internal/chart/pack"
	"github.com/nationtech/harmony/pkg/protocol"
)

func chartApp(t *testing.T, version string) protocol.AppSpec {
	t.Helper()
	root := t.TempDir()
	for file, text := range map[string]string{
		"Chart.yaml": `apiVersion: v2
name: operator
version: 0.0.0
description: registers devices
home: https://example.com
sources: [https://example.com/source]
maintainers: [{name: A, email: a@example.com}, {name: B}]
annotations: {key: value, org.opencontainers.image.title: not this}
`,
		"values.yaml":        "image: none\n",
		"templates/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: x, image: {{ .Values.image | quote }}}]}\n",
	} {
		path := filepath.Join(root, "chart", file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := app(version)
	a.ProjectRoot, a.Chart = root, protocol.ChartSource{Path: "chart", Image: protocol.ImagePlaces{{Value: "image"}}}
	return a
}

func pushedImage() protocol.ImageRef {
	return protocol.ImageRef{Registry: "localhost:5001", Repository: "fleet/operator", Tag: "1.4.0", Digest: "sha256:" + strings.Repeat("ab", 32), Location: protocol.InRegistry}
}

func newHelm(t *testing.T, host string, dry bool) chartRegistry {
	t.Helper()
	env := environment(host + "/fleet-charts")
	env.DryRun = dry
	c := fastClient(t, env, "spec.helmRegistry", nil)
	return chartRegistry{c, pack.Pack}
}

// Helm's own client reads what was pushed, and would have made the same.
func TestPushChart(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		a := chartApp(t, "1.4.0+b.1")
		planned, err := newHelm(t, host, true).PushChart(t.Context(), a, pushedImage())
		if err != nil || !planned.Planned || planned.Unchanged || planned.Digest == "" {
			t.Fatalf("got %+v, %v", planned, err)
		}
		lacks(t, host+"/fleet-charts/operator:1.4.0_b.1")
		ref, err := newHelm(t, host, false).PushChart(t.Context(), a, pushedImage())
		if err != nil {
			t.Fatal(err)
		}
		if ref.URL != "oci://"+host+"/fleet-charts/operator" || ref.Chart != "operator" || ref.ChartVersion != "1.4.0+b.1" || ref.Digest != planned.Digest || !ref.Insecure || ref.Unchanged || ref.Planned {
			t.Errorf("got %+v", ref)
		}
		client, err := helm.NewClient(helm.ClientOptPlainHTTP(), helm.ClientOptWriter(io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		for _, reference := range []string{host + "/fleet-charts/operator:1.4.0+b.1", host + "/fleet-charts/operator@" + ref.Digest} {
			pulled, err := client.Pull(reference)
			if err != nil {
				t.Fatal(err)
			}
			if pulled.Manifest.Digest != ref.Digest {
				t.Errorf("helm got %s, want %s", pulled.Manifest.Digest, ref.Digest)
			}
			c, err := loader.LoadArchive(bytes.NewReader(pulled.Chart.Data))
			if err != nil {
				t.Fatal(err)
			}
			if c.Values["image"] != pushedImage().String() || c.Metadata.Version != "1.4.0+b.1" {
				t.Errorf("helm got %+v, %v", c.Metadata, c.Values)
			}
			again, err := client.Push(pulled.Chart.Data, host+"/by-helm/operator:1.4.0+b.1", helm.PushOptCreationTime("1970-01-01T00:00:00Z"))
			if err != nil {
				t.Fatal(err)
			}
			byHelm, ours := manifestOf(t, host+"/by-helm/operator@"+again.Manifest.Digest), manifestOf(t, host+"/fleet-charts/operator@"+ref.Digest)
			byHelm.MediaType = ours.MediaType // Helm leaves it out
			if !reflect.DeepEqual(byHelm, ours) {
				t.Errorf("helm push makes\n%+v\nof it, we made\n%+v", byHelm, ours)
			}
		}
		again, err := newHelm(t, host, false).PushChart(t.Context(), a, pushedImage())
		if err != nil || !again.Unchanged || again.Digest != ref.Digest {
			t.Errorf("got %+v, %v", again, err)
		}
		other := pushedImage()
		other.Digest = "sha256:" + strings.Repeat("cd", 32)
		_, err = newHelm(t, host, false).PushChart(t.Context(), a, other)
		if err == nil || !strings.Contains(err.Error(), ref.Digest) || protocol.ExitCode(err) != protocol.ExitFailed {
			t.Errorf("got status %d, %v", protocol.ExitCode(err), err)
		}
	})
}

// The helm command reads it too. HARMONY_TEST_HELM names the program.
func TestHelmPull(t *testing.T) {
	helm := os.Getenv("HARMONY_TEST_HELM")
	if helm == "" {
		t.Skip("HARMONY_TEST_HELM is not set")
	}
	host := harmonyRegistry(t)
	ref, err := newHelm(t, host, false).PushChart(t.Context(), chartApp(t, "1.4.0+b.1"), pushedImage())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out, err := exec.Command(helm, "pull", ref.URL, "--version", "1.4.0+b.1", "--plain-http", "--destination", dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), ref.Digest) {
		t.Fatalf("%v\n%s", err, out)
	}
	if c, err := loader.LoadFile(filepath.Join(dir, "operator-1.4.0+b.1.tgz")); err != nil || c.Values["image"] != pushedImage().String() {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestPushChartRefuses(t *testing.T) {
	host := harmonyRegistry(t)
	planned := pushedImage()
	planned.Planned = true
	if _, err := newHelm(t, host, false).PushChart(t.Context(), chartApp(t, "1.4.0"), planned); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("planned image: got %v", err)
	}
	planned.Digest = ""
	got, err := newHelm(t, host, true).PushChart(t.Context(), chartApp(t, "1.4.0"), planned)
	if err != nil || !got.Planned || got.Digest != "" || got.URL == "" {
		t.Errorf("unknown digest: got %+v, %v", got, err)
	}
	named := chartApp(t, "1.4.0")
	file := filepath.Join(named.ProjectRoot, "chart/Chart.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: v2\nname: Operator\nversion: 0.0.0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := newHelm(t, host, false).PushChart(t.Context(), named, pushedImage()); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("upper-case name: got %v", err)
	}
}

func manifestOf(t *testing.T, reference string) *v1.Manifest {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Get(ref)
	if err != nil {
		t.Fatal(err)
	}
	m, err := v1.ParseManifest(bytes.NewReader(got.Manifest))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
