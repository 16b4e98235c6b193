package base

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestOldBlobsAreRemoved(t *testing.T) {
	r := Registry{Cache: t.TempDir()}
	if err := os.Mkdir(filepath.Join(r.Cache, "sha256"), 0o700); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-2 * blobAge)
	for _, name := range []string{"old", ".new-dead", "kept"} {
		if err := os.WriteFile(filepath.Join(r.Cache, "sha256", name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(r.Cache, "sha256", name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	if !used(filepath.Join(r.Cache, "sha256", "kept")) {
		t.Error("not there")
	}
	if err := r.Prune(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(r.Cache, "sha256"))
	if err != nil || len(left) != 1 || left[0].Name() != "kept" {
		t.Errorf("left %v, %v", left, err)
	}
}
