package nodeimport

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func inLayout(t *testing.T, image v1.Image) protocol.ImageRef {
	t.Helper()
	path, err := layout.Write(t.TempDir(), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(image); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return protocol.ImageRef{Repository: "fleet/operator", Digest: digest.String(), Location: protocol.InLayout, Path: string(path)}
}

func built(t *testing.T) protocol.ImageRef {
	t.Helper()
	image, err := random.Image(4096, 3)
	if err != nil {
		t.Fatal(err)
	}
	return inLayout(t, image)
}

func app(version string) protocol.AppSpec {
	return protocol.AppSpec{Metadata: protocol.Metadata{Name: "operator", Version: version}}
}

// standIns makes a cluster of stand-ins, current in the kubeconfig.
func standIns(t *testing.T, tool string, nodes ...string) {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"docker", "kind", "k3d"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range nodes {
		if err := os.MkdirAll(filepath.Join(dir, "nodes", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte("current-context: "+tool+"-dev\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("KUBECONFIG", kubeconfig)
	t.Setenv("STANDIN_NODES", filepath.Join(dir, "nodes"))
	t.Setenv("STANDIN_LIARS", "")
}

func environment(dry bool) capability.Environment {
	return capability.Environment{
		Topology: protocol.Topology{
			Metadata: protocol.Metadata{Name: "local"},
			Targets:  map[string]protocol.Target{"staging": {InCluster: &protocol.InCluster{Namespace: "s"}}},
		},
		Provider: protocol.Provider{Adapter: "node-import"}, DryRun: dry, Progress: func(protocol.Event) {},
	}
}

func push(t *testing.T, env capability.Environment, flags *publish.Flags, version string, image protocol.ImageRef) (protocol.ImageRef, error) {
	t.Helper()
	adapter, err := New(flags)(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return adapter.PushImage(t.Context(), app(version), image)
}

func TestImport(t *testing.T) {
	for _, tool := range []string{"kind", "k3d"} {
		t.Run(tool, func(t *testing.T) {
			standIns(t, tool, "dev-one", "dev-two")
			image := built(t)
			planned, err := push(t, environment(true), nil, "1.4.0", image)
			if err != nil || !planned.Planned || planned.Unchanged {
				t.Fatalf("got %+v, %v", planned, err)
			}
			got, err := push(t, environment(false), nil, "1.4.0", image)
			want := "harmony.invalid/fleet/operator:1.4.0@" + image.Digest
			if err != nil || got.String() != want || got.Location != protocol.InNodes || got.Unchanged || got.Path != "" {
				t.Fatalf("got %+v, %v", got, err)
			}
			if again, err := push(t, environment(false), nil, "1.4.0", image); err != nil || !again.Unchanged {
				t.Fatalf("again: got %+v, %v", again, err)
			}
			other := built(t)
			_, err = push(t, environment(false), nil, "1.4.0", other)
			if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), image.Digest) || !strings.Contains(err.Error(), other.Digest) {
				t.Errorf("another digest: got %v", err)
			}
			if _, err := push(t, environment(false), &publish.Flags{Overwrite: true}, "1.4.0", other); err != nil {
				t.Errorf("overwrite: %v", err)
			}
			if _, err := push(t, environment(false), nil, "0.0.0-dev", image); err != nil {
				t.Error(err)
			}
			if _, err := push(t, environment(false), nil, "0.0.0-dev", other); err != nil {
				t.Error(err)
			}
		})
	}
}

// A tool that reports success and did nothing does not get away with it.
func TestImportOfLiars(t *testing.T) {
	for _, tool := range []string{"kind", "k3d"} {
		for _, liars := range []string{"dev-two", "dev-one dev-two"} {
			standIns(t, tool, "dev-one", "dev-two")
			t.Setenv("STANDIN_LIARS", liars)
			_, err := push(t, environment(false), nil, "1.4.0", built(t))
			if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "reported success") {
				t.Fatalf("%s: got status %d, %v", tool, protocol.ExitCode(err), err)
			}
			for _, node := range []string{"dev-one", "dev-two"} {
				if strings.Contains(err.Error(), "node "+node+" does not have harmony.invalid/fleet/operator:1.4.0") != strings.Contains(liars, node) {
					t.Errorf("%s, %s lie: got %v", tool, liars, err)
				}
			}
			// A node that came back to its senses gets what it lacks.
			t.Setenv("STANDIN_LIARS", "")
			image := built(t)
			if got, err := push(t, environment(false), nil, "1.4.1", image); err != nil || got.Unchanged {
				t.Errorf("got %+v, %v", got, err)
			}
		}
	}
}

// A blob that is not what it says comes to no node.
func TestImportRefusesBrokenLayout(t *testing.T) {
	standIns(t, "kind", "dev-one")
	image := built(t)
	files, err := filepath.Glob(filepath.Join(image.Path, "blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for what, spoilt := range map[string][]byte{"changed": append([]byte{data[0] ^ 1}, data[1:]...), "longer": append(data[:len(data):len(data)], ' '), "shorter": data[:len(data)-1]} {
			if err := os.WriteFile(file, spoilt, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = push(t, environment(false), nil, "1.4.0", image)
			if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), filepath.Base(file)) {
				t.Errorf("%s: got status %d, %v", what, protocol.ExitCode(err), err)
			}
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = push(t, environment(false), nil, "1.4.0", image); err != nil {
		t.Error(err)
	}
}

func TestRefuses(t *testing.T) {
	standIns(t, "kind")
	if err := os.MkdirAll(os.Getenv("STANDIN_NODES"), 0o700); err != nil {
		t.Fatal(err)
	}
	image := built(t)
	with := func(change func(*protocol.ImageRef)) protocol.ImageRef {
		changed := image
		change(&changed)
		return changed
	}
	for _, test := range []struct {
		image protocol.ImageRef
		code  int
		want  string
	}{
		{with(func(i *protocol.ImageRef) { i.Planned = true }), protocol.ExitInvalid, "only planned"},
		{with(func(i *protocol.ImageRef) { i.Location = protocol.InRegistry }), protocol.ExitUnsupported, `location "registry"`},
		{with(func(i *protocol.ImageRef) { i.Location, i.ID = protocol.InDaemon, "../x" }), protocol.ExitInvalid, `"../x" is not a digest`},
		{with(func(i *protocol.ImageRef) { i.Repository = "../x" }), protocol.ExitInvalid, "repository"},
		{image, protocol.ExitUnsupported, "has no nodes"},
	} {
		_, err := push(t, environment(false), nil, "1.4.0", test.image)
		if protocol.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got status %d, %v; want %d, %q", protocol.ExitCode(err), err, test.code, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	adapter, err := New(nil)(ctx, environment(false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adapter.PushImage(ctx, app("1.4.0"), image); protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	prod := filepath.Join(dir, "prod")
	if err := os.WriteFile(prod, []byte("current-context: prod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		settings   map[string]any
		kubeconfig string
		code       int
		want       string
	}{
		{nil, prod, protocol.ExitUnsupported, `"prod" is not a k3d or kind cluster`},
		{nil, dir + "/none", protocol.ExitUnsupported, "no current kube context"},
		{map[string]any{"contianerd": "/x"}, prod, protocol.ExitInvalid, "contianerd is not a setting"},
		{map[string]any{"containerd": 1}, prod, protocol.ExitInvalid, "containerd must be a string"},
		{map[string]any{"containerd": "/x"}, prod, 0, ""},
		{map[string]any{"context": "k3d-x"}, prod, 0, ""},
	} {
		t.Setenv("KUBECONFIG", test.kubeconfig)
		env := environment(false)
		env.Provider.Settings = test.settings
		_, err := New(nil)(t.Context(), env)
		if protocol.ExitCode(err) != test.code || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got status %d, %v; want %q", test.settings, protocol.ExitCode(err), err, test.want)
		}
	}
}
