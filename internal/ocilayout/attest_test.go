package ocilayout

import (
	"encoding/json"
	"strings"
	"testing"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// saidOf reads the statements next to the images of a layout, by the digest of what
// they are about.
func saidOf(t *testing.T, image Image) map[string][]string {
	t.Helper()
	content, err := Read(image.Path, image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string][]string{}
	for _, m := range content.Manifests {
		if m.Annotations[Attestation] != attestationManifest {
			continue
		}
		var manifest ocispec.Manifest
		if err := json.Unmarshal(m.Raw, &manifest); err != nil {
			t.Fatal(err)
		}
		about := m.Annotations[attestationSubject]
		if said[about] != nil {
			t.Errorf("%s has two manifests of statements", about)
		}
		d := Draft{dir: image.Path}
		for _, layer := range manifest.Layers {
			var s statement
			if err := d.readJSON(layer, &s); err != nil {
				t.Fatal(err)
			}
			if "sha256:"+s.Subject[0].Digest["sha256"] != about || layer.Annotations[predicateType] != s.PredicateType {
				t.Errorf("a statement about %v in the manifest for %s, annotated %v", s.Subject, about, layer.Annotations)
			}
			said[about] = append(said[about], s.PredicateType+" "+string(s.Predicate))
		}
	}
	return said
}

func addEmpty(t *testing.T, d *Draft, architecture string) ocispec.Descriptor {
	t.Helper()
	var config dockerspec.DockerOCIImage
	config.OS, config.Architecture = "linux", architecture
	image, err := d.AddImage(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func attest(t *testing.T, d *Draft, images []ocispec.Descriptor, platform, predicate, content string) []ocispec.Descriptor {
	t.Helper()
	images, err := d.Attest(images, platform, predicate, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return images
}

func TestAttest(t *testing.T) {
	d, err := Store{Dir: t.TempDir()}.Begin("app")
	if err != nil {
		t.Fatal(err)
	}
	amd, arm := addEmpty(t, d, "amd64"), addEmpty(t, d, "arm64")
	// As of a builder that says something of its own: one index, images without
	// platforms.
	first, second := amd, arm
	first.Platform, second.Platform = nil, nil
	images := attest(t, d, []ocispec.Descriptor{first, second}, "linux/amd64", "https://slsa.dev/provenance/v1", `{"a":1}`)
	whole, err := d.addJSON(ocispec.MediaTypeImageIndex, index(images...))
	if err != nil {
		t.Fatal(err)
	}
	images = attest(t, d, []ocispec.Descriptor{whole}, "linux/amd64", PredicateSPDX, `{"b":2}`)
	images = attest(t, d, images, "linux/arm64", PredicateSPDX, `{"c":3}`)
	if _, err := d.Attest(images, "linux/s390x", PredicateSPDX, []byte(`{}`)); err == nil {
		t.Error("a statement about no image")
	}
	kept, err := d.Commit("sha256:"+strings.Repeat("a", 64), images)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(kept.Platforms, " "); got != "linux/amd64 linux/arm64" {
		t.Errorf("platforms %s", got)
	}
	said := saidOf(t, kept)
	if got := strings.Join(said[amd.Digest.String()], "; "); got != `https://slsa.dev/provenance/v1 {"a":1}; https://spdx.dev/Document {"b":2}` {
		t.Errorf("of amd64: %s", got)
	}
	if got := strings.Join(said[arm.Digest.String()], "; "); got != `https://spdx.dev/Document {"c":3}` {
		t.Errorf("of arm64: %s", got)
	}
}
