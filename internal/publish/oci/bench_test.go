package oci

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/nationtech/harmony/pkg/protocol"
)

// BenchmarkPush holds our push of 512 MiB in eight layers against that of
// crane, which is remote.Write, and tells what a push of nothing new costs.
func BenchmarkPush(b *testing.B) {
	image := large(b, 8, 64<<20)
	host := debianRegistry(b)
	repositories := 0
	fresh := func() string { repositories++; return fmt.Sprintf("%s/r%d", host, repositories) }
	b.Run("harmony", func(b *testing.B) {
		b.SetBytes(8 * 64 << 20)
		for b.Loop() {
			if _, err := newRegistry(b, environment(fresh())).PushImage(b.Context(), app("1.4.0"), image); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("crane", func(b *testing.B) {
		b.SetBytes(8 * 64 << 20)
		for b.Loop() {
			if err := craneLike(fresh(), image); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			if _, err := newRegistry(b, environment(host+"/r1")).PushImage(b.Context(), app("1.4.0"), image); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func craneLike(repository string, image protocol.ImageRef) error {
	tag, err := name.NewTag(repository + "/fleet/operator:1.4.0")
	if err != nil {
		return err
	}
	digest, err := v1.NewHash(image.Digest)
	if err != nil {
		return err
	}
	content, err := layout.Path(image.Path).Image(digest)
	if err != nil {
		return err
	}
	return remote.Write(tag, content)
}

// large is an image of random layers in a layout.
func large(tb testing.TB, layers int, size int64) protocol.ImageRef {
	tb.Helper()
	content := empty.Image
	for i := range layers {
		file, err := os.Create(filepath.Join(tb.TempDir(), fmt.Sprint(i)))
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := io.CopyN(file, rand.Reader, size); err != nil {
			tb.Fatal(err)
		}
		if err := file.Close(); err != nil {
			tb.Fatal(err)
		}
		layer, err := tarball.LayerFromFile(file.Name(), tarball.WithCompressionLevel(0))
		if err != nil {
			tb.Fatal(err)
		}
		if content, err = mutate.AppendLayers(content, layer); err != nil {
			tb.Fatal(err)
		}
	}
	path, err := layout.Write(tb.TempDir(), empty.Index)
	if err != nil {
		tb.Fatal(err)
	}
	if err := path.AppendImage(content); err != nil {
		tb.Fatal(err)
	}
	digest, err := content.Digest()
	if err != nil {
		tb.Fatal(err)
	}
	return protocol.ImageRef{Repository: "fleet/operator", Digest: digest.String(), Location: protocol.InLayout, Path: string(path)}
}
