package differential

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/internal/publish/oci"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TestBaseIsMounted builds on a base image that is in the destination, pushes,
// and reads back what the registry has.
func TestBaseIsMounted(t *testing.T) {
	registry := os.Getenv("HARMONY_TEST_REGISTRY")
	if registry == "" {
		missing(t, "HARMONY_TEST_REGISTRY")
	}
	prefix := fmt.Sprintf("%s/mounted-%d", registry, os.Getpid())
	pushBase(t, prefix+"/bases/os", fmt.Appendf(nil, "{}\nlayer\n- 0644 0:0 only/%d A\nlayer\n- 0644 0:0 b B\n", os.Getpid()))
	dir := t.TempDir()
	put(t, filepath.Join(dir, "Dockerfile"), fmt.Appendf(nil, "FROM %s/bases/os\nCOPY --link a /a\n", prefix))
	put(t, filepath.Join(dir, "a"), []byte("A"))
	env := capability.Environment{Cache: t.TempDir(), Progress: func(protocol.Event) {}}
	env.Topology.OCIRegistry = &protocol.Provider{Adapter: "oci", URL: prefix + "/apps"}
	builder, err := daemonless.New(&build.Flags{})(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	app := protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "mounted", Version: "1.0.0"}, ProjectRoot: dir,
		Image: protocol.ImageSource{Dockerfile: &protocol.Dockerfile{}, Platforms: []string{"linux/amd64"}},
	}
	built, err := builder.BuildImage(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if places, err := ocilayout.Elsewhere(built.Path); err != nil || len(places) != 2 {
		t.Fatalf("the base's layers are in the layout: elsewhere %v, %v", places, err)
	}
	env.Provider = *env.Topology.OCIRegistry
	pusher, err := oci.NewRegistry(&publish.Flags{})(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := pusher.PushImage(t.Context(), app, built)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(pushed.Registry+"/"+pushed.Repository+"@"+pushed.Digest, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(ref, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Errorf("what the registry has is not whole: %v", err)
	}
	if layers, err := image.Layers(); err != nil || len(layers) != 3 {
		t.Errorf("%d layers, %v", len(layers), err)
	}
}
