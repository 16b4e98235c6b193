package helm

import (
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/pkg/protocol"
)

// The node runs one platform's image of an index, by whatever digest it tells.
func TestImageOfSeveralPlatforms(t *testing.T) {
	w := newWorld(t)
	digest, err := name.NewDigest(w.image.FullName()+"@"+w.image.Digest, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	platform, err := remote.Image(digest)
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: empty.Image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: platform, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}},
	)
	sum, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(w.image.FullName()+":index", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	w.image.Tag, w.image.Digest = "index", sum.String()
	w.deploy(protocol.OutcomeInstalled, 1)
	w.deploy(protocol.OutcomeUnchanged, 1)
}
