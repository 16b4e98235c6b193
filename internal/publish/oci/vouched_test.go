package oci

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// TestVouchedRepository is of a topology that names the repository in which only
// CI puts images: what CI built goes there too, what it found does not.
func TestVouchedRepository(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		env := environment(host + "/fleet")
		env.Provider.TrustInputs = "fleet/inputs"
		env.Progress = func(e protocol.Event) {
			if strings.Contains(e.Message, "will not find") {
				t.Error(e.Message)
			}
		}
		image := built(t, false)
		image.InputDigest = "sha256:" + strings.Repeat("ab", 32)
		vouched := host + "/fleet/inputs:" + protocol.InputTag(image.InputDigest)

		found := image
		if _, err := newRegistry(t, environment(host+"/fleet")).PushImage(t.Context(), app("1.4.0-dev.1"), image); err != nil {
			t.Fatal(err)
		}
		found.Location, found.Path, found.Registry, found.Repository, found.Unchanged = protocol.InRegistry, "", host, "fleet/fleet/operator", true
		if _, err := newRegistry(t, env).PushImage(t.Context(), app("1.4.0-dev.2"), found); err != nil {
			t.Fatal(err)
		}
		lacks(t, vouched)

		if _, err := newRegistry(t, env).PushImage(t.Context(), app("1.4.0"), image); err != nil {
			t.Fatal(err)
		}
		holds(t, vouched, image.Digest)

		// The next version takes the image from there into its own repository.
		found.Repository = "fleet/inputs"
		next := app("1.4.1")
		next.Image.Repository = "fleet/other"
		pushed, err := newRegistry(t, env).PushImage(t.Context(), next, found)
		if err != nil || pushed.Repository != "fleet/fleet/other" {
			t.Errorf("%+v, %v", pushed, err)
		}
		holds(t, host+"/fleet/fleet/other:1.4.1", image.Digest)
		lacks(t, host+"/fleet/inputs:1.4.1")
	})
	env := environment("registry.example.com/fleet")
	env.Provider.TrustInputs = "key"
	if _, err := NewRegistry(nil)(t.Context(), env); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("a key: %v", err)
	}
}
