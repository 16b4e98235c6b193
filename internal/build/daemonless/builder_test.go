package daemonless

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// builder is the adapter with the cache that it was given.
type builder struct {
	capability.ContainerBuilder
	cache string
}

// newBuilder makes a builder with a cache of its own.
func newBuilder(t *testing.T) builder {
	t.Helper()
	return newBuilderAt(t, t.TempDir())
}

func newBuilderAt(t *testing.T, cache string) builder {
	t.Helper()
	b, err := New(nil)(t.Context(), capability.Environment{Cache: cache, Progress: func(protocol.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	return builder{b, cache}
}

// write makes a folder with these files: a name that ends with a slash is a
// folder, with ! executable, a content -> target a symbolic link.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, strings.TrimSuffix(name, "!"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		target, isLink := strings.CutPrefix(content, "-> ")
		switch {
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			mode := fs.FileMode(0o644)
			if strings.HasSuffix(name, "!") {
				mode = 0o755
			}
			err = os.WriteFile(path, []byte(content), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// project is an app with a Dockerfile in a folder of its own.
func project(t *testing.T, dockerfile string, files map[string]string) protocol.AppSpec {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	write(t, dir, map[string]string{"Dockerfile": dockerfile})
	return appAt(dir)
}

func appAt(dir string) protocol.AppSpec {
	return protocol.AppSpec{
		Metadata:    protocol.Metadata{Name: "demo", Version: "1.0.0+build"},
		ProjectRoot: dir,
		Image:       protocol.ImageSource{Dockerfile: &protocol.Dockerfile{}, Platforms: []string{"linux/amd64"}},
	}
}

// mustBuild builds and returns the image as an independent library reads it, after
// that library found nothing wrong with it.
func mustBuild(t *testing.T, b builder, app protocol.AppSpec) (protocol.ImageRef, v1.Image) {
	t.Helper()
	ref, err := b.BuildImage(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	return ref, imageOf(t, ref)
}

func indexOf(t *testing.T, ref protocol.ImageRef) v1.ImageIndex {
	t.Helper()
	index, err := ocilayout.ImageIndexFromPath(ref.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Fatalf("layout is not valid: %v", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest.String() != ref.Digest {
		t.Fatalf("index.json names %+v, want only %s", manifest.Manifests, ref.Digest)
	}
	return index
}

func imageOf(t *testing.T, ref protocol.ImageRef) v1.Image {
	t.Helper()
	digest, err := v1.NewHash(ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	image, err := indexOf(t, ref).Image(digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// list is the file system of an image, a line for each entry, sorted:
// type mode uid:gid path content-or-target.
func list(t *testing.T, image v1.Image) string {
	t.Helper()
	r := mutate.Extract(image)
	defer r.Close()
	lines := map[string]string{}
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s: time %v, user %q, group %q: want 1970 and no names", h.Name, h.ModTime, h.Uname, h.Gname)
		}
		name := strings.TrimSuffix(h.Name, "/")
		lines[name] = strings.TrimSpace(fmt.Sprintf("%c %04o %d:%d %s %s", kindLetter(h.Typeflag), h.Mode, h.Uid, h.Gid, name, string(content)+h.Linkname))
	}
	var out []string
	for _, line := range lines {
		out = append(out, line)
	}
	return sortedLines(out)
}

func kindLetter(flag byte) byte {
	switch flag {
	case tar.TypeDir:
		return 'd'
	case tar.TypeSymlink:
		return 'l'
	}
	return '-'
}

// leftOver lists what is in the cache of the app demo besides memories.
func leftOver(t *testing.T, cache string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(cache, "demo"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		if e.Name() != "inputs" {
			left = append(left, e.Name())
		}
	}
	return left
}
