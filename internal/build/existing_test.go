package build_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/pkg/protocol"
)

// pushIndex puts an image for two platforms, with an attestation, into the registry.
func (s *server) pushIndex(t *testing.T, reference, user string) (digest string) {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, p := range []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}, {OS: "unknown", Architecture: "unknown"}} {
		image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Config: v1.Config{User: user}})
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &p}})
	}
	tag, err := name.NewTag(s.host + "/" + reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	sum, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s.asked()
	return sum.String()
}

func existing(ref string, platforms ...string) protocol.AppSpec {
	return protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "demo", Version: "1.0.0"}, ProjectRoot: "/nowhere",
		Image: protocol.ImageSource{Ref: ref, Platforms: platforms},
	}
}

// An image that exists is resolved, by every adapter: no backend is asked.
func TestExistingImage(t *testing.T) {
	registry := startServer(t)
	first := registry.pushIndex(t, "org/app:1.2", "1")
	ref := registry.host + "/org/app:1.2"
	s, b := newStage(t), &builds{}
	s.flags.Explain = true
	want := ref + "@" + first
	got, err := s.build(t.Context(), b.adapter(&s.flags), existing(ref, "linux/arm64"))
	if err != nil || got.String() != want || got.Location != protocol.InRegistry || !got.Unchanged || got.Planned || !got.Insecure || got.InputDigest != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	if !slices.Equal(got.Platforms, []string{"linux/amd64", "linux/arm64"}) || got.Version != "1.0.0" {
		t.Errorf("%+v", got)
	}
	if said := s.said(protocol.PhaseExplain); !slices.Equal(said, []string{"not built: image.ref " + ref + " is " + first}) {
		t.Errorf("explained %q", said)
	}
	if len(b.requests) > 0 {
		t.Error("it was built")
	}
	registry.asked()
	s.env.DryRun = true
	if got, err = s.build(t.Context(), b.adapter(&s.flags), existing(ref)); err != nil || got.String() != want || !got.Planned {
		t.Errorf("planned: %+v, %v", got, err)
	}
	if asked := registry.asked(); slices.ContainsFunc(asked, func(r string) bool { return strings.HasPrefix(r, "GET /v2/org") }) {
		t.Errorf("what is known by its digest was read again: %q", asked)
	}

	// The tag moves; a digest does not.
	second := registry.pushIndex(t, "org/app:1.2", "2")
	if got, err = s.build(t.Context(), b.adapter(&s.flags), existing(ref)); err != nil || got.Digest != second {
		t.Errorf("moved: %+v, %v", got, err)
	}
	if got, err = s.build(t.Context(), b.adapter(&s.flags), existing(want)); err != nil || got.String() != want {
		t.Errorf("pinned: %+v, %v", got, err)
	}
}

func TestExistingImageRefused(t *testing.T) {
	registry := startServer(t)
	registry.pushIndex(t, "org/app:1.2", "1")
	absent := registry.host + "/org/app@sha256:" + strings.Repeat("0", 64)
	for name, test := range map[string]struct {
		app  protocol.AppSpec
		code int
		says []string
	}{
		"no such tag":       {existing(registry.host + "/org/app:9"), protocol.ExitInvalid, []string{"demo: spec.image.ref: ", "/org/app:9"}},
		"no such digest":    {existing(absent), protocol.ExitInvalid, []string{"demo: spec.image.ref: " + absent}},
		"no such platform":  {existing(registry.host+"/org/app:1.2", "linux/s390x"), protocol.ExitInvalid, []string{"demo: spec.image.platforms: ", "no image for linux/s390x (it has linux/amd64, linux/arm64)"}},
		"nobody answers":    {existing("localhost:1/org/app:1.2"), protocol.ExitRetryable, []string{"demo: spec.image.ref: localhost:1/org/app:1.2"}},
		"neither tag nor @": {existing(registry.host + "/org/app"), protocol.ExitInvalid, []string{"needs a tag or a digest"}},
	} {
		s, b := newStage(t), &builds{}
		_, err := s.build(t.Context(), b.adapter(&s.flags), test.app)
		if protocol.ExitCode(err) != test.code {
			t.Errorf("%s: status %d, %v", name, protocol.ExitCode(err), err)
			continue
		}
		for _, text := range test.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %q is not in %v", name, text, err)
			}
		}
	}
}

// harmony affected finds nothing that an image which exists is made from.
func TestExistingImageItems(t *testing.T) {
	s := newStage(t)
	items, paths, err := build.NewLister(s.env, t.TempDir(), func(string) {}).Items(t.Context(), existing("ghcr.io/org/app:1.2"))
	if len(items) > 0 || len(paths) > 0 || err != nil {
		t.Errorf("%v, %v, %v", items, paths, err)
	}
}
