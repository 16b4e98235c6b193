package nodeimport

import (
	"io"
	"log"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	inprocess "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/pkg/protocol"
)

// foreign is an image for this machine and for linux/s390x in a registry, and the
// digests of its manifests.
func foreign(t *testing.T) (image protocol.ImageRef, digests map[string]string) {
	t.Helper()
	web := httptest.NewServer(inprocess.New(inprocess.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(web.Close)
	reference := strings.TrimPrefix(web.URL, "http://") + "/org/app:1.2"
	var index v1.ImageIndex = empty.Index
	digests = map[string]string{}
	for _, architecture := range []string{runtime.GOARCH, "s390x"} {
		content, err := random.Image(1024, 2)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := content.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[architecture] = digest.String()
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: content, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}}})
	}
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	root, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if image, err = protocol.ParseImageRef(reference + "@" + root.String()); err != nil {
		t.Fatal(err)
	}
	image.Location, image.Insecure, image.Unchanged = protocol.InRegistry, true, true
	return image, digests
}

// Of an image that exists the nodes get the one of their platform.
func TestImportExisting(t *testing.T) {
	standIns(t, "kind", "dev-one", "dev-two")
	image, digests := foreign(t)
	adapter, err := New(nil)(t.Context(), environment(false))
	if err != nil {
		t.Fatal(err)
	}
	a := app("1.4.0")
	a.Image.Ref = image.FullName() + ":1.2"
	want := "harmony.invalid/operator:1.4.0@" + digests[runtime.GOARCH]
	got, err := adapter.PushImage(t.Context(), a, image)
	if err != nil || got.String() != want || got.Location != protocol.InNodes || got.Unchanged {
		t.Fatalf("got %+v, %v; want %s", got, err, want)
	}
	if again, err := adapter.PushImage(t.Context(), a, image); err != nil || !again.Unchanged {
		t.Errorf("again: %+v, %v", again, err)
	}

	// The tag moved.
	other, _ := foreign(t)
	_, err = adapter.PushImage(t.Context(), a, other)
	if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "tag of image.ref "+a.Image.Ref+" has moved since version 1.4.0") {
		t.Errorf("moved: %v", err)
	}

	a.Version, a.Image.Platforms = "1.5.0", []string{"linux/s390x"}
	if got, err = adapter.PushImage(t.Context(), a, image); err != nil || got.Digest != digests["s390x"] {
		t.Errorf("for s390x: %+v, %v", got, err)
	}
	a.Version, a.Image.Platforms = "1.6.0", []string{"linux/riscv64"}
	if _, err = adapter.PushImage(t.Context(), a, image); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "no image for linux/riscv64") {
		t.Errorf("for riscv64: %v", err)
	}
	no := false
	a.Image.Platforms, a.Image.Mirror = nil, &no
	if got, err = adapter.PushImage(t.Context(), a, image); err != nil || got.String() != image.String() || got.Location != protocol.InRegistry {
		t.Errorf("in place: %+v, %v", got, err)
	}
}
