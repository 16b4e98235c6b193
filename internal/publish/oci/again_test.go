package oci

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// The same once more changes no file of the registry, and makes none: neither
// its bytes nor the time at which it was written.
func TestPublishAgainChangesNoByte(t *testing.T) {
	for name, start := range map[string]func(*testing.T, string) string{
		"harmony":         harmonyRegistryIn,
		"docker-registry": func(t *testing.T, dir string) string { return debianRegistryIn(t, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			host := start(t, dir)
			a, single, index := chartApp(t, "1.4.0"), built(t, false), built(t, true)
			index.Repository = "fleet/several"
			publish := func(unchanged bool) map[string]string {
				t.Helper()
				for _, image := range []protocol.ImageRef{single, index} {
					image.InputDigest = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(image.Repository)))
					pushed, err := newRegistry(t, environment(host+"/images")).PushImage(t.Context(), a, image)
					if err != nil || pushed.Unchanged != unchanged {
						t.Fatalf("image: got %+v, %v; want unchanged %t", pushed, err, unchanged)
					}
				}
				pushed, err := newHelm(t, host, false).PushChart(t.Context(), a, pushedImage())
				if err != nil || pushed.Unchanged != unchanged {
					t.Fatalf("chart: got %+v, %v; want unchanged %t", pushed, err, unchanged)
				}
				return stored(t, dir)
			}
			before := publish(false)
			if len(before) < 10 {
				t.Fatalf("the registry stores only %v", before)
			}
			if after := publish(true); !maps.Equal(after, before) {
				t.Errorf("the registry stored\n%v\nand stores\n%v", before, after)
			}
		})
	}
}

// stored is what a folder holds: the time, and of a file the digest too.
func stored(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		found[path] = fmt.Sprintf("%s %s %x", info.Mode(), info.ModTime(), sha256.Sum256(content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
