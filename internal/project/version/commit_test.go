package version_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/nationtech/harmony/internal/project/version"
)

func TestHead(t *testing.T) {
	r := newRepository(t)
	t.Setenv("GIT_COMMITTER_DATE", "2024-05-06T07:08:09+02:00")
	if commit, err := version.Head(t.Context(), r.dir); err != nil || commit != (version.Commit{}) {
		t.Errorf("without a commit: %+v, %v", commit, err)
	}
	r.commit(1)
	r.git("tag", "file-v1.0.0")
	clean, err := version.Head(t.Context(), r.dir)
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(clean.String()) || clean.Time.Unix() != 1714972089 {
		t.Errorf("clean: %+v, %v", clean, err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if commit, err := version.Head(t.Context(), r.dir); err != nil || commit != clean {
		t.Errorf("with a file that git does not track: %+v, %v", commit, err)
	}
	r.change()
	if commit, err := version.Head(t.Context(), r.dir); err != nil || commit.String() != clean.Hash+"-dirty" {
		t.Errorf("changed: %s, %v", commit, err)
	}
	if commit, err := version.Head(t.Context(), t.TempDir()); err != nil || commit.Hash != "" {
		t.Errorf("without a repository: %+v, %v", commit, err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, ".git", "HEAD"), []byte("ref: refs/heads/main\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, ".git", "config"), []byte("[broken"), 0o644); err != nil {
		t.Fatal(err)
	}
	if commit, err := version.Head(t.Context(), r.dir); err == nil {
		t.Errorf("of a damaged repository: %+v", commit)
	}
}
