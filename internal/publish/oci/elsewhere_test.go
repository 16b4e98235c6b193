package oci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// withBaseElsewhere is an image of which the first layer is in another
// repository and not in the layout.
func withBaseElsewhere(t *testing.T, registry, repository string) (protocol.ImageRef, v1.Descriptor) {
	t.Helper()
	image := built(t, false)
	digest, err := v1.NewHash(image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	content, err := layout.Path(image.Path).Image(digest)
	if err != nil {
		t.Fatal(err)
	}
	base, err := content.Layers()
	if err != nil {
		t.Fatal(err)
	}
	to, err := name.NewRepository(registry + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteLayer(to, base[0]); err != nil {
		t.Fatal(err)
	}
	manifest, err := content.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	layer := manifest.Layers[0]
	list, err := json.Marshal(map[string]any{"blobs": map[string]ocilayout.Place{layer.Digest.String(): {Registry: registry, Repository: repository, Insecure: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(image.Path, "elsewhere.json"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(image.Path, "blobs", "sha256", layer.Digest.Hex)); err != nil {
		t.Fatal(err)
	}
	return image, layer
}

func TestPushImageMountsBase(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		for _, from := range []string{host, harmonyRegistry(t)} {
			image, layer := withBaseElsewhere(t, from, "library/base")
			seen := &recorder{}
			c := fastClient(t, environment(host), "spec.ociRegistry", seen)
			version := "1.4.0"
			if from != host {
				version = "1.4.1" // the layer of another image, which is not in the registry yet
			}
			if _, err := registryOf(c).PushImage(t.Context(), app(version), image); err != nil {
				t.Fatal(err)
			}
			holds(t, host+"/fleet/operator:"+version, image.Digest)
			sent := slices.ContainsFunc(seen.take(), func(did string) bool {
				return strings.HasPrefix(did, "PUT ") && strings.Contains(did, "digest="+strings.ReplaceAll(layer.Digest.String(), ":", "%3A"))
			})
			if sent != (from != host) {
				t.Errorf("the layer was sent: %t, from %s to %s", sent, from, host)
			}
		}
	})
}

func TestPushImageTellsLostBase(t *testing.T) {
	host := harmonyRegistry(t)
	image, layer := withBaseElsewhere(t, harmonyRegistry(t), "library/base")
	list := strings.ReplaceAll(read(t, filepath.Join(image.Path, "elsewhere.json")), "library/base", "library/gone")
	if err := os.WriteFile(filepath.Join(image.Path, "elsewhere.json"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.0"), image)
	if err == nil || !strings.Contains(err.Error(), layer.Digest.String()) || !strings.Contains(protocol.HintOf(err), "--no-cache") {
		t.Errorf("got %v, hint %q", err, protocol.HintOf(err))
	}
	if err := os.WriteFile(filepath.Join(image.Path, "elsewhere.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.0"), image)
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "elsewhere.json") {
		t.Errorf("got %v", err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
