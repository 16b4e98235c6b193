package buildkit

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/pkg/protocol"
)

var goFiles = map[string]string{
	"go.mod":        "module example.com/demo\n\ngo 1.24\n",
	"main.go":       "package main\n\nfunc main() { print(\"hello\") }\n",
	"ui/index.html": "<h1>ui</h1>",
}

// goApp is a buildable with everything that it can say of the image.
func goApp(base string) protocol.ImageSource {
	return protocol.ImageSource{Platforms: []string{"linux/amd64"}, Buildable: &protocol.Buildable{
		Type: "go", Base: base, Files: map[string]string{"ui": "/home/app/ui"}, WorkingDir: "/home/app",
		Env: map[string]string{"GREETING": `say "hi" to $USER`}, Entrypoint: "/home/app/greet", User: "1000:2000",
	}}
}

// TestGoBuildable has a real BuildKit build it, on a base image.
func TestGoBuildable(t *testing.T) {
	tag := pushBusybox(t)
	ref, err := name.ParseReference(tag, name.Insecure)
	must(t, err)
	base, err := remote.Head(ref, remote.WithContext(t.Context()))
	must(t, err)
	p := newProject(t, addressed(startReady(t)), goFiles)
	p.app.Image = goApp(tag + "@" + base.Digest.String())
	made := p.mustBuild()
	top, err := layout.ImageIndexFromPath(made.Path)
	must(t, err)
	sum, err := v1.NewHash(made.Digest)
	must(t, err)
	image, err := top.Image(sum)
	must(t, err)
	file, err := image.ConfigFile()
	must(t, err)
	c := file.Config
	want := []string{"PATH=/bin:/home/app", `GREETING=say "hi" to $USER`}
	if c.WorkingDir != "/home/app" || c.User != "1000:2000" || !slices.Equal(c.Entrypoint, []string{"/home/app/greet"}) || !slices.Equal(c.Env, want) {
		t.Errorf("configuration %+v", c)
	}
	files := contents(t, made)
	if files["home/app/ui/index.html"] != "<h1>ui</h1>" || !strings.HasPrefix(files["home/app/greet"], "\x7fELF") {
		t.Errorf("files %d, ui %q", len(files), files["home/app/ui/index.html"])
	}
	if again := p.mustBuild(); !again.Unchanged || again.Digest != made.Digest {
		t.Errorf("again: %+v", again)
	}
}

// TestGoSBOM puts the SBOM next to what BuildKit itself says of the image, on disk also
// where the builder reaches the registry.
func TestGoSBOM(t *testing.T) {
	for _, provenance := range []string{"", "min"} {
		settings := addressed(startReady(t))
		if provenance != "" {
			settings["provenance"] = provenance
		}
		p := newProject(t, settings, goFiles).withRegistry()
		p.app.Image = goApp("")
		p.app.Image.Buildable.SBOM = true
		ref := p.mustBuild()
		if ref.Location != protocol.InLayout || !slices.Equal(ref.Platforms, []string{"linux/amd64"}) {
			t.Errorf("%+v", ref)
		}
		found := statements(t, ref)
		if !strings.Contains(found["https://spdx.dev/Document"], `"name":"example.com/demo"`) {
			t.Errorf("no SBOM: %v", found)
		}
		if _, ok := found["https://slsa.dev/provenance/v1"]; ok != (provenance != "") {
			t.Errorf("provenance %q: %v", provenance, found)
		}
	}
}

func TestGoSBOMNeedsThisMachine(t *testing.T) {
	p := newProject(t, map[string]any{"address": "tcp://builder.example.com:1", "push": "always"}, goFiles)
	p.env.Topology.OCIRegistry = &protocol.Provider{Adapter: "oci", URL: "registry.example.com/x"}
	p.app.Image = goApp("")
	p.app.Image.Buildable.SBOM = true
	_, err := p.build(t.Context())
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "image.buildable.sbom") {
		t.Errorf("status %d, %v", protocol.ExitCode(err), err)
	}
}
