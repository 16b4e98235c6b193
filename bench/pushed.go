package main

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// pushed is an image of layers of random bytes, in an OCI layout.
type pushed struct {
	folder string
	size   int64 // of a layer
	layers []v1.Layer
	image  v1.Image
	// unload takes the image out of docker's daemon again.
	unload func(context.Context) error
}

// newPushed writes an image that no earlier run has written.
func newPushed(folder string, layers int, size int64) (*pushed, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	p := &pushed{folder: folder, size: size, layers: make([]v1.Layer, layers), unload: nothing}
	for i := range layers {
		if err := p.fill(i); err != nil {
			return nil, err
		}
	}
	return p, p.write()
}

func (p *pushed) layout() string  { return filepath.Join(p.folder, "layout") }
func (p *pushed) archive() string { return filepath.Join(p.folder, "image.tar") }

// fill gives a layer new bytes. It is compressed, though to no less: no tool
// compresses it again, but docker, whose daemon keeps no compressed layer.
func (p *pushed) fill(i int) error {
	path := filepath.Join(p.folder, fmt.Sprintf("%d.tar", i))
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w := tar.NewWriter(file)
	if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("data/%d", i), Mode: 0o644, Size: p.size}); err != nil {
		return err
	}
	var seed [32]byte
	copy(seed[:], fmt.Sprint(time.Now().UnixNano()))
	if _, err := io.CopyN(w, rand.NewChaCha8(seed), p.size); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	p.layers[i], err = tarball.LayerFromFile(path, tarball.WithCompressionLevel(0))
	return err
}

// change gives the image another last layer.
func (p *pushed) change(context.Context) error {
	if err := p.fill(len(p.layers) - 1); err != nil {
		return err
	}
	return p.write()
}

// write rewrites the layout from the current layers.
func (p *pushed) write() error {
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, "application/vnd.oci.image.manifest.v1+json"), p.layers...)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if p.image, err = mutate.ConfigFile(image, config); err != nil {
		return err
	}
	path, err := layout.Write(p.layout(), empty.Index)
	if err != nil {
		return err
	}
	return path.AppendImage(p.image)
}

// load brings the image into docker's daemon, as reference, in the place of the
// one that was loaded before.
func (p *pushed) load(ctx context.Context, docker, reference string) error {
	tag, err := name.NewTag(reference, name.Insecure)
	if err != nil {
		return err
	}
	if err := p.unload(ctx); err != nil {
		return err
	}
	if err := tarball.WriteToFile(p.archive(), tag, p.image); err != nil {
		return err
	}
	defer os.Remove(p.archive())
	p.unload = command{name: "docker image rm", argv: []string{docker, "image", "rm", "--force", reference}}.run
	return command{name: "docker load", argv: []string{docker, "load", "--quiet", "--input", p.archive()}}.run(ctx)
}
