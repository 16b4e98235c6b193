package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/doctor"
	"github.com/nationtech/harmony/internal/plugins/store"
)

// put makes a folder of the mode, with plugins that answer nothing.
func put(t *testing.T, mode os.FileMode, names ...string) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(folder, "harmony-"+name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(folder, mode); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestExamine(t *testing.T) {
	suite, open, first := put(t, 0o755, "deploy", "plugin"), put(t, 0o777, "bar"), put(t, 0o755, "foo", "deploy")
	second := put(t, 0o755, "foo")
	for name, test := range map[string]struct {
		path string
		// want are subject, problem and advice, of which each is a part.
		want [][3]string
	}{
		"all is well":   {first, nil},
		"the suite too": {suite + ":" + put(t, 0o755, "foo"), nil}, // harmony-plugin carries out a built-in command
		"shadowed":      {first + ":" + second, [][3]string{{"foo", second + "/harmony-foo never runs: " + first + "/harmony-foo comes first", "order of PATH"}}},
		"own shadowed":  {first + ":" + suite, [][3]string{{"deploy", suite + "/harmony-deploy never runs: " + first, "order of PATH"}}},
		"refused": {open, [][3]string{
			{"PATH", open + " is writable by others", "remove it from PATH"}, {"bar", open + "/harmony-bar is refused: " + open + " is writable by others", "chmod o-w " + open},
		}},
		"relative": {"bin:" + first, [][3]string{{"PATH", `entry 1 of PATH, "bin", is relative`, "remove it from PATH"}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := doctor.Doctor{
				Finder: discovery.Finder{Path: test.path, BuiltIn: []string{"plugin"}, UID: os.Getuid(), Own: []string{"deploy"}, OwnFolder: suite},
				Store:  store.Store{Folder: t.TempDir()}, Suite: suite,
			}
			found, err := d.Examine(t.Context())
			if err != nil || len(found) != len(test.want) {
				t.Fatalf("%+v, %v; want %d findings", found, err, len(test.want))
			}
			for i, want := range test.want {
				if f := found[i]; f.Subject != want[0] || !strings.Contains(f.Problem, want[1]) || !strings.Contains(f.Advice, want[2]) {
					t.Errorf("%+v, want %q", f, want)
				}
			}
		})
	}
}
