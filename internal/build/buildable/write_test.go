package buildable

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// here is the platform of this machine.
func here() ocispec.Platform { return ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// optionsOf are those of a buildable in a project of these files.
func optionsOf(t *testing.T, b protocol.Buildable, files map[string]string) Options {
	t.Helper()
	root := t.TempDir()
	write(t, root, files)
	return Options{
		App: protocol.AppSpec{
			Metadata: protocol.Metadata{Name: "demo", Version: "1.0.0"}, ProjectRoot: root,
			Image: protocol.ImageSource{Buildable: &b},
		},
		Platforms: []ocispec.Platform{here()}, Created: time.Unix(0, 0), Memory: t.TempDir(),
		Finder: discovery.Finder{Path: os.Getenv("PATH"), UID: os.Getuid()},
	}
}

// openSource opens a source that is closed at the end of the test.
func openSource(t *testing.T, o Options) Source {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c, ok := s.(interface{ Close() error }); ok {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// contextOf writes the context of a source.
func contextOf(t *testing.T, o Options) dockerfile.Context {
	t.Helper()
	s := openSource(t, o)
	digestOf(t, t.Context(), s)
	c, err := s.Context(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// treeOf is all that is in a folder: the mode and content of files by path.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if info.Mode().Type() == fs.ModeSymlink {
			link, err := os.Readlink(path)
			tree[name] = "link " + link
			return err
		}
		content, err := os.ReadFile(path)
		tree[name] = info.Mode().String() + " " + string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
