package dockerfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestOpenedIsWhatWasFound exchanges a file after the walk: for a link that
// leads out, another file of the same size, and what the folder above it holds.
func TestOpenedIsWhatWasFound(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	put(t, outside, "s3cr3t")
	for name, exchange := range map[string]func(file string) error{
		"a link":       func(file string) error { return os.Symlink(outside, file) },
		"another file": func(file string) error { return os.WriteFile(file, []byte("s3cr3t"), 0o644) },
		"the folder": func(file string) error {
			if err := os.Remove(filepath.Dir(file)); err != nil {
				return err
			}
			return os.Symlink(filepath.Dir(outside), filepath.Dir(file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "d", "secret")
			put(t, file, "public")
			folder, err := OpenFolder(dir, "")
			if err != nil {
				t.Fatal(err)
			}
			defer folder.Close()
			sources, err := folder.Find(t.Context(), TakeOf("d/secret", "", false, nil))
			if err != nil {
				t.Fatal(err)
			}
			entry := sources[0].Entries[0]
			if f, err := entry.Open(); err != nil {
				t.Fatal(err)
			} else if text, err := io.ReadAll(f); string(text) != "public" || err != nil || f.Close() != nil {
				t.Fatalf("%q, %v", text, err)
			}
			if err := errors.Join(os.Rename(file, filepath.Join(dir, "away")), exchange(file)); err != nil {
				t.Fatal(err)
			}
			if f, err := entry.Open(); err == nil {
				t.Error("opened")
				_ = f.Close()
			}
		})
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}
