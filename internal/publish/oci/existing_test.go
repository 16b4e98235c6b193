package oci

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/pkg/protocol"
)

// foreign puts an image of two platforms and an attestation, as BuildKit makes
// it, into a registry.
func foreign(t *testing.T, reference string) (ref protocol.ImageRef, index v1.ImageIndex) {
	t.Helper()
	index = empty.Index
	for _, p := range []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}, {OS: "unknown", Architecture: "unknown"}} {
		image, err := random.Image(2048, 2)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config = config.DeepCopy()
		config.OS, config.Architecture = p.OS, p.Architecture
		if image, err = mutate.ConfigFile(image, config); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &p}})
	}
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ref, err = protocol.ParseImageRef(reference + "@" + digest.String())
	if err != nil {
		t.Fatal(err)
	}
	ref.Metadata, ref.Location, ref.Insecure, ref.Unchanged = app("1.4.0").Metadata, protocol.InRegistry, true, true
	return ref, index
}

// existing is an app whose image is the reference.
func existing(version, ref string) protocol.AppSpec {
	a := app(version)
	a.Image.Ref = ref
	return a
}

// An image that exists is copied from its registry with all platforms and
// attestations, and again only by its tag.
func TestPushExisting(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		abroad := harmonyRegistry(t)
		for _, from := range []string{abroad, host} {
			ref := from + "/org/app:1.2"
			image, _ := foreign(t, ref)
			repository := host + "/from-" + map[bool]string{true: "here", false: "abroad"}[from == host]
			dry := environment(repository)
			dry.DryRun = true
			planned, err := newRegistry(t, dry).PushImage(t.Context(), existing("1.4.0", ref), image)
			if err != nil || !planned.Planned || planned.Unchanged || planned.Digest != image.Digest {
				t.Fatalf("dry run: %+v, %v", planned, err)
			}
			lacks(t, repository+"/fleet-operator:1.4.0")

			pushed, err := newRegistry(t, environment(repository)).PushImage(t.Context(), existing("1.4.0", ref), image)
			if err != nil || pushed.Unchanged || pushed.String() != repository+"/fleet-operator:1.4.0@"+image.Digest || pushed.Location != protocol.InRegistry {
				t.Fatalf("%+v, %v", pushed, err)
			}
			holds(t, repository+"/fleet-operator:1.4.0", image.Digest)

			seen := &recorder{}
			again := registryOf(fastClient(t, environment(repository), "spec.ociRegistry", seen))
			if pushed, err = again.PushImage(t.Context(), existing("1.4.0", ref), image); err != nil || !pushed.Unchanged {
				t.Errorf("again: %+v, %v", pushed, err)
			}
			for _, did := range seen.take() {
				if !strings.HasPrefix(did, http.MethodHead) && !strings.HasPrefix(did, http.MethodGet) {
					t.Errorf("again: %s", did)
				}
			}
			// What publish made of it is published again as it is.
			if twice, err := again.PushImage(t.Context(), existing("1.4.0", ref), pushed); err != nil || !twice.Unchanged || twice.String() != pushed.String() {
				t.Errorf("twice: %+v, %v", twice, err)
			}
		}
	})
}

// A released version stays what it was when the tag of image.ref moves.
func TestPushExistingMoved(t *testing.T) {
	host, abroad := harmonyRegistry(t), harmonyRegistry(t)
	ref := abroad + "/org/app:1.2"
	first, _ := foreign(t, ref)
	r := newRegistry(t, environment(host))
	for _, version := range []string{"1.4.0", "1.4.1-dev.1"} {
		if _, err := r.PushImage(t.Context(), existing(version, ref), first); err != nil {
			t.Fatal(err)
		}
	}
	second, _ := foreign(t, ref)
	_, err := r.PushImage(t.Context(), existing("1.4.0", ref), second)
	if protocol.ExitCode(err) != protocol.ExitFailed {
		t.Fatalf("status %d, %v", protocol.ExitCode(err), err)
	}
	for _, want := range []string{"tag of image.ref " + ref + " has moved since version 1.4.0", first.Digest, second.Digest} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if want := "image.ref: " + ref + "@" + first.Digest; !strings.Contains(protocol.HintOf(err), want) {
		t.Errorf("%q is not in the hint %q", want, protocol.HintOf(err))
	}
	holds(t, host+"/fleet-operator:1.4.0", first.Digest)
	if _, err := r.PushImage(t.Context(), existing("1.4.1-dev.1", ref), second); err != nil {
		t.Errorf("a development version: %v", err)
	}
	// Pinned, it is released again as it was.
	if again, err := r.PushImage(t.Context(), existing("1.4.0", ref+"@"+first.Digest), first); err != nil || !again.Unchanged {
		t.Errorf("pinned: %+v, %v", again, err)
	}
}

func TestPushExistingInPlace(t *testing.T) {
	host, abroad := harmonyRegistry(t), harmonyRegistry(t)
	ref := abroad + "/org/app:1.2"
	image, _ := foreign(t, ref)
	a, no := existing("1.4.0", ref), false
	a.Image.Mirror = &no
	got, err := newRegistry(t, environment(host)).PushImage(t.Context(), a, image)
	if err != nil || got.String() != image.String() || !got.Unchanged || got.Version != "1.4.0" {
		t.Errorf("%+v, %v", got, err)
	}
	lacks(t, host+"/fleet-operator:1.4.0")
	image.Digest = ""
	if _, err := newRegistry(t, environment(host)).PushImage(t.Context(), a, image); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("not looked up: %v", err)
	}
}

// Only an image that image.ref names is taken from another registry.
func TestPushExistingOfOthers(t *testing.T) {
	abroad := harmonyRegistry(t)
	image, _ := foreign(t, abroad+"/org/app:1.2")
	_, err := newRegistry(t, environment(harmonyRegistry(t))).PushImage(t.Context(), app("1.4.0"), image)
	if protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("%v", err)
	}
	image.Digest = "sha256:" + strings.Repeat("0", 64)
	_, err = newRegistry(t, environment(harmonyRegistry(t))).PushImage(t.Context(), existing("1.4.0", abroad+"/org/app:1.2"), image)
	if err == nil || !strings.Contains(err.Error(), abroad+"/org/app@sha256:000") {
		t.Errorf("an image that is gone: %v", err)
	}
}

// Where the image stays in its registry, its chart tells that the tag has moved.
func TestPushChartOfMovedImage(t *testing.T) {
	h, a := newHelm(t, harmonyRegistry(t), false), chartApp(t, "1.4.0")
	no := false
	a.Image.Ref, a.Image.Mirror = "ghcr.io/org/app:1.2", &no
	first, second := pushedImage(), pushedImage()
	second.Digest = "sha256:" + strings.Repeat("cd", 32)
	if _, err := h.PushChart(t.Context(), a, first); err != nil {
		t.Fatal(err)
	}
	_, err := h.PushChart(t.Context(), a, second)
	if want := "the tag of image.ref ghcr.io/org/app:1.2 may have moved since version 1.4.0 was released: it is " + second.Digest; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%q is not in %v", want, err)
	}
	if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(protocol.HintOf(err), "ghcr.io/org/app:1.2@sha256:") {
		t.Errorf("status %d, hint %q", protocol.ExitCode(err), protocol.HintOf(err))
	}
}
