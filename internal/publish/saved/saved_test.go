package saved

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/nationtech/harmony/pkg/protocol"
)

// TestManifestNamesTheInput is of an image as docker save gives it out, which has
// no place for annotations.
func TestManifestNamesTheInput(t *testing.T) {
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	id, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	if err := tarball.Write(name.MustParseReference("x:1"), image, &stream); err != nil {
		t.Fatal(err)
	}
	content := New(t.TempDir())
	if err := content.Read(t.Context(), &stream, func(l Layer) { l.Close() }); err != nil {
		t.Fatal(err)
	}
	ref := protocol.ImageRef{ID: id.String(), InputDigest: "sha256:" + strings.Repeat("ab", 32)}
	manifest, _, err := content.Manifest(ref)
	if err != nil || manifest.Annotations[protocol.InputAnnotation] != ref.InputDigest || len(manifest.Layers) != 2 {
		t.Errorf("%+v, %v", manifest, err)
	}
	memory := InCache(t.TempDir())
	if err := memory.Remember(ref, id.String()); err != nil {
		t.Fatal(err)
	}
	other := ref
	other.InputDigest = "sha256:" + strings.Repeat("cd", 32)
	if _, known := memory.Digest(other); known {
		t.Error("the manifest of another input is remembered as this one's")
	}
	if got, known := memory.Digest(ref); !known || got != id.String() {
		t.Errorf("remembered %q", got)
	}
}
