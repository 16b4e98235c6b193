package daemonless

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/nationtech/harmony/pkg/protocol"
)

// sboms are the names of the packages in the SPDX documents of a layout, by the
// digest of the image that they are about.
func sboms(t *testing.T, ref protocol.ImageRef) map[string][]string {
	t.Helper()
	// Not validated: crane does not take layers that are no file systems for layers.
	top, err := layout.ImageIndexFromPath(ref.Path)
	must(t, err)
	sum, err := v1.NewHash(ref.Digest)
	must(t, err)
	index, err := top.ImageIndex(sum)
	must(t, err)
	list, err := index.IndexManifest()
	must(t, err)
	found := map[string][]string{}
	for _, m := range list.Manifests {
		if m.Annotations["vnd.docker.reference.type"] != "attestation-manifest" {
			continue
		}
		image, err := index.Image(m.Digest)
		must(t, err)
		layers, err := image.Layers()
		must(t, err)
		r, err := layers[0].Uncompressed()
		must(t, err)
		text, err := io.ReadAll(r)
		must(t, err)
		var s struct {
			PredicateType string
			Predicate     struct {
				SpdxVersion  string
				Packages     []struct{ Name string }
				CreationInfo struct{ Created string }
			}
		}
		must(t, json.Unmarshal(text, &s))
		if s.PredicateType != "https://spdx.dev/Document" || s.Predicate.SpdxVersion != "SPDX-2.3" || s.Predicate.CreationInfo.Created != "1970-01-01T00:00:00Z" {
			t.Errorf("the statement is %+v", s)
		}
		for _, p := range s.Predicate.Packages {
			found[m.Annotations["vnd.docker.reference.digest"]] = append(found[m.Annotations["vnd.docker.reference.digest"]], p.Name)
		}
	}
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestGoSBOM builds with an SBOM for two platforms, on two machines that share nothing.
func TestGoSBOM(t *testing.T) {
	app := goProject(t)
	without, _ := mustBuild(t, newBuilder(t), app)
	write(t, app.ProjectRoot, map[string]string{
		"go.mod":            "module example.com/demo\n\ngo 1.24\n\nrequire (\n\texample.com/near v0.0.0\n\texample.com/unused v0.0.0\n)\n\nreplace example.com/near => ./near\n\nreplace example.com/unused => ./unused\n",
		"near/go.mod":       "module example.com/near\n\ngo 1.24\n",
		"near/near.go":      "package near\n\nconst Name = \"near\"\n",
		"unused/go.mod":     "module example.com/unused\n\ngo 1.24\n",
		"cmd/hello/near.go": "package main\n\nimport _ \"example.com/near\"\n",
	})
	app.Image.Buildable.SBOM = true
	app.Image.Platforms = []string{"linux/amd64", "linux/arm/v7"}
	first, err := newBuilder(t).BuildImage(t.Context(), app)
	must(t, err)
	if !slices.Equal(first.Platforms, app.Image.Platforms) {
		t.Errorf("platforms %v", first.Platforms)
	}
	found := sboms(t, first)
	for about, names := range found {
		if got := strings.Join(names, " "); got != "example.com/demo stdlib example.com/near" {
			t.Errorf("%s is made of %s", about, got)
		}
	}
	if len(found) != 2 {
		t.Errorf("SBOMs of %d images, not 2", len(found))
	}
	other := newBuilder(t)
	second, err := other.BuildImage(t.Context(), app)
	must(t, err)
	if second.Digest != first.Digest || second.Unchanged {
		t.Errorf("again: %+v, not %s", second, first.Digest)
	}
	if again, err := other.BuildImage(t.Context(), app); err != nil || !again.Unchanged || again.Digest != first.Digest {
		t.Errorf("an image with an SBOM is not found again: %+v, %v", again, err)
	}
	app.Image.Platforms = nil
	one, err := other.BuildImage(t.Context(), app)
	must(t, err)
	if one.InputDigest == without.InputDigest || len(sboms(t, one)) != 1 {
		t.Errorf("for one platform %+v", one)
	}
	app.Image.Buildable.Type = "static"
	refused(t, app, protocol.ExitInvalid, "the type static has no such field", "")
}
