package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// One package starts child processes, so that all are cancelled, bounded and
// scrubbed alike. What tests use to run servers of their own may start them too.
func TestOnePackageStartsChildren(t *testing.T) {
	starts := regexp.MustCompile(`exec\.(Command|Cmd\{)|os\.StartProcess|syscall\.(ForkExec|StartProcess)`)
	found := 0
	for _, root := range []string{"../cmd", "../pkg", "../internal"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || d.Name() == "clustertest" || d.Name() == "deploytest"):
				return fs.SkipDir
			case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			text, err := os.ReadFile(path)
			if !starts.Match(text) {
				return err
			}
			if found++; filepath.Dir(path) != filepath.FromSlash("../internal/cli/process") {
				t.Errorf("%s starts a process: use internal/cli/process", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("nobody starts a process: this test looks for the wrong thing")
	}
}
