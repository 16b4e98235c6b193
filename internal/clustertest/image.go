package clustertest

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Push makes an image of the program in the folder app and pushes it as
// repository:tag. The same tag gives the same digest, another one another. The
// program does what its environment says; see there.
func Push(t testing.TB, repository, tag string) protocol.ImageRef {
	t.Helper()
	registry := Registry(t)
	image, err := appImage(t, tag)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(registry+"/"+repository+":"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return protocol.ImageRef{
		Registry: registry, Repository: repository, Tag: tag, Digest: digest.String(),
		Location: protocol.InRegistry, Insecure: true,
	}
}

func appImage(t testing.TB, tag string) (v1.Image, error) {
	program, err := compile(t.Context(), t.TempDir())
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return layerOf(program) })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH,
		Config: v1.Config{Entrypoint: []string{"/app"}, Env: []string{"VERSION=" + tag}, User: "65532"},
		RootFS: must(image.ConfigFile()).RootFS,
	})
}

// must is for what an image in memory cannot fail at.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// compile builds the program; the compiler's cache makes it quick.
func compile(ctx context.Context, folder string) ([]byte, error) {
	out := filepath.Join(folder, "app")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "github.com/nationtech/harmony/internal/clustertest/app")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if output, err := command.CombinedOutput(); err != nil {
		return nil, &exec.Error{Name: "go build: " + string(output), Err: err}
	}
	return os.ReadFile(out)
}

func layerOf(program []byte) (io.ReadCloser, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return io.NopCloser(&b), nil
}
