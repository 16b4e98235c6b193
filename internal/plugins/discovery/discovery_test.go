package discovery_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// put makes an executable in a folder, which it makes with the mode.
func put(t *testing.T, folder string, mode os.FileMode, names ...string) string {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(folder, mode); err != nil {
		t.Fatal(err)
	}
	return folder
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// What others could have written or replaced anywhere on the way is refused, with
// the command that mends it, and not passed over for the next folder.
func TestFindRefuses(t *testing.T) {
	for name, lay := range map[string]func(root, good, bad string){
		"the folder on PATH": func(root, _, bad string) { link(t, bad, filepath.Join(root, "on-path")) },
		"an ancestor":        func(root, _, bad string) { link(t, filepath.Join(bad, "inner"), filepath.Join(root, "on-path")) },
		"the file's folder": func(root, _, bad string) {
			link(t, filepath.Join(bad, "harmony-x"), filepath.Join(root, "on-path", "harmony-x"))
		},
		"a link in between": func(root, good, bad string) {
			link(t, filepath.Join(good, "harmony-x"), filepath.Join(bad, "between"))
			link(t, filepath.Join(bad, "between"), filepath.Join(root, "on-path", "harmony-x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			good, bad := put(t, filepath.Join(root, "good"), 0o755, "harmony-x"), put(t, filepath.Join(root, "bad"), 0o777, "harmony-x")
			put(t, filepath.Join(bad, "inner"), 0o755, "harmony-x")
			lay(root, good, bad)
			f := discovery.Finder{Path: filepath.Join(root, "on-path") + ":" + good, UID: os.Getuid()}
			_, err := f.Find("x")
			if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), bad+" is writable by others (mode 0777)") {
				t.Errorf("got %v", err)
			}
			if hint := protocol.HintOf(err); hint != "chmod o-w "+bad && hint != "chmod go-w "+bad {
				t.Errorf("hint %q", hint)
			}
			if list := f.List(); len(list) != 2 || list[0].Refused == "" || list[1].Refused != "" || list[1].Shadowed == "" {
				t.Errorf("listed %+v", list)
			}
		})
	}
	// A folder in which everybody creates files is no folder for plugins.
	folder := put(t, filepath.Join(t.TempDir(), "sticky"), os.ModeSticky|0o777, "harmony-x")
	if _, err := (discovery.Finder{Path: folder, UID: os.Getuid()}).Find("x"); err == nil {
		t.Error("found in a sticky folder")
	}
}

// The suite's own plugins are run from beside harmony, unless somebody has put
// another on PATH by hand, or has installed one to replace them.
func TestFindOwn(t *testing.T) {
	root := t.TempDir()
	suite := put(t, filepath.Join(root, "suite"), 0o755, "harmony-deploy", "harmony-other")
	first := put(t, filepath.Join(root, "first"), 0o755, "harmony-deploy", "harmony-smoke", "harmony-other")
	store := put(t, filepath.Join(root, "store", artifact.Bin), 0o755)
	install := func(replaces bool) {
		os.Remove(filepath.Join(store, "harmony-deploy"))
		folder := artifact.Folder("9.9.9", strings.Repeat("0", 64), replaces)
		put(t, filepath.Join(root, "store", artifact.Plugins, "deploy", folder, artifact.Files), 0o755, "harmony-deploy")
		link(t, artifact.Target("deploy", folder, "harmony-deploy"), filepath.Join(store, "harmony-deploy"))
	}
	find := func(path, name string) string {
		t.Helper()
		f := discovery.Finder{Path: path, UID: os.Getuid(), Own: []string{"deploy", "smoke"}, OwnFolder: suite}
		p, err := f.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, listed := range f.List() {
			if runs := listed.Path == p.Path; listed.Name == name && runs != (listed.Shadowed == "") {
				t.Errorf("%s is found, listed is %+v", p.Path, listed)
			}
		}
		return p.Path
	}
	install(false)
	for _, test := range []struct{ path, name, want string }{
		{first + ":" + suite, "deploy", first},
		{store, "deploy", suite},
		{store + ":" + suite, "deploy", suite},
		{root, "deploy", suite},
		{first + ":" + suite, "smoke", first},
		{first + ":" + suite, "other", first},
	} {
		if got := find(test.path, test.name); filepath.Dir(got) != test.want {
			t.Errorf("%s on %s: found %s", test.name, test.path, got)
		}
	}
	install(true)
	if got := find(store+":"+suite, "deploy"); filepath.Dir(got) != store {
		t.Errorf("found %s, not what was installed to replace it", got)
	}
	if version, replaces := artifact.Link(filepath.Join(store, "harmony-deploy")); version != "9.9.9" || !replaces {
		t.Errorf("version %q, %v", version, replaces)
	}
}

// The environment of a plugin that is asked what it is holds no secrets, and
// nothing of it stays.
func TestDescribeGetsNoSecrets(t *testing.T) {
	t.Setenv("HARMONY_REGISTRY_PASSWORD", "s3cr3t")
	t.Setenv("GITHUB_TOKEN", "s3cr3t")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
	t.Setenv("PLAIN", "kept")
	seen := filepath.Join(t.TempDir(), "seen")
	_, err := discovery.Describer{}.Describe(t.Context(), script(t, "env >"+seen))
	if err == nil {
		t.Error("no answer is an answer")
	}
	text, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(string(text), "\n"); strings.Contains(string(text), "s3cr3t") || !slices.Contains(lines, "PLAIN=kept") {
		t.Errorf("the plugin saw\n%s", text)
	}
}
