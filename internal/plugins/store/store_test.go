package store_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nationtech/harmony/internal/clustertest/tgz"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/pkg/protocol"
)

// plugin is an artifact in a file: a tar.gz with a script that says its version.
func plugin(t testing.TB, name, version string) store.Artifact {
	t.Helper()
	return artifactOf(t, name, version, tarGz(t, map[string]string{"bin/tool": script(version), "share/data": "data of " + version}))
}

func script(version string) string { return "#!/bin/sh\necho " + version + "\n" }

func artifactOf(t testing.TB, name, version string, data []byte) store.Artifact {
	t.Helper()
	path := filepath.Join(t.TempDir(), "artifact")
	must(t, os.WriteFile(path, data, 0o600))
	return store.Artifact{Name: name, Version: version, Artifact: artifact.Artifact{URI: "file://" + path, SHA256: hashOf(data), Size: int64(len(data)), Bin: "bin/tool"}}
}

func tarGz(t testing.TB, files map[string]string) []byte { return tgz.Of(t, 0o777, files) }

func newStore(t testing.TB) store.Store {
	return store.Store{Folder: filepath.Join(t.TempDir(), "harmony")}
}

func install(t testing.TB, s store.Store, a store.Artifact) store.Result {
	t.Helper()
	result, err := s.Install(t.Context(), a, store.InstallOptions{AllowDowngrade: true})
	must(t, err)
	return result
}

// runs is the version of the plugin that the dispatcher would run; it fails the
// test when that would refuse it.
func runs(t testing.TB, s store.Store, name string) string {
	t.Helper()
	found, err := discovery.Finder{Path: s.Bin(), UID: os.Getuid()}.Find(name)
	must(t, err)
	data, err := os.ReadFile(found.Path)
	must(t, err)
	return strings.TrimSpace(strings.TrimPrefix(string(data), "#!/bin/sh\necho "))
}

// versions lists the folders of a plugin's versions, without their hashes.
func versions(t testing.TB, s store.Store, name string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Folder, "plugins", name))
	if !errors.Is(err, os.ErrNotExist) {
		must(t, err)
	}
	var list []string
	for _, e := range entries {
		version, _, _ := strings.Cut(e.Name(), "-")
		list = append(list, version)
	}
	return list
}

func TestLifeOfAPlugin(t *testing.T) {
	s := newStore(t)
	one, two, three := plugin(t, "foo", "1.0.0"), plugin(t, "foo", "1.1.0"), plugin(t, "foo", "2.0.0")
	for _, step := range []struct {
		artifact store.Artifact
		outcome  store.Outcome
		previous string
		kept     []string
	}{
		{one, store.OutcomeInstalled, "", []string{"1.0.0"}},
		{one, store.OutcomeUnchanged, "1.0.0", []string{"1.0.0"}},
		{two, store.OutcomeUpgraded, "1.0.0", []string{"1.0.0", "1.1.0"}},
		{three, store.OutcomeUpgraded, "1.1.0", []string{"1.1.0", "2.0.0"}},
		{two, store.OutcomeDowngraded, "2.0.0", []string{"1.1.0", "2.0.0"}},
		{three, store.OutcomeUpgraded, "1.1.0", []string{"1.1.0", "2.0.0"}},
	} {
		result := install(t, s, step.artifact)
		if result.Outcome != step.outcome || result.Previous != step.previous || result.Version != step.artifact.Version {
			t.Errorf("%+v, want %s from %q", result, step.outcome, step.previous)
		}
		if got := runs(t, s, "foo"); got != step.artifact.Version {
			t.Errorf("runs %s, want %s", got, step.artifact.Version)
		}
		if listed := (discovery.Finder{Path: s.Bin(), UID: os.Getuid()}).List(); len(listed) != 1 || listed[0].Version != step.artifact.Version {
			t.Errorf("listed as %+v", listed)
		}
		if got := versions(t, s, "foo"); !slices.Equal(got, step.kept) {
			t.Errorf("keeps %v, want %v", got, step.kept)
		}
	}
	result, err := s.Rollback(t.Context(), "foo")
	if err != nil || result.Version != "1.1.0" || result.Previous != "2.0.0" || runs(t, s, "foo") != "1.1.0" {
		t.Errorf("%+v, %v", result, err)
	}
	list, broken, err := s.All()
	if err != nil || len(broken) > 0 || len(list) != 1 || list[0].Version != "1.1.0" || list[0].URI != two.URI {
		t.Errorf("%+v, %v, %v", list, broken, err)
	}
	result, err = s.Uninstall(t.Context(), "foo")
	if err != nil || result.Previous != "1.1.0" {
		t.Errorf("%+v, %v", result, err)
	}
	if left := versions(t, s, "foo"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	for _, again := range []func() error{
		func() error { _, err := s.Uninstall(t.Context(), "foo"); return err },
		func() error { _, err := s.Rollback(t.Context(), "foo"); return err },
	} {
		if err := again(); !errors.Is(err, store.ErrNotInstalled) {
			t.Errorf("got %v", err)
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	s := newStore(t)
	install(t, s, plugin(t, "foo", "1.1.0"))
	before := everything(t, s.Folder)
	good := plugin(t, "foo", "1.2.0")
	changed := func(change func(*store.Artifact)) store.Artifact {
		a := good
		change(&a)
		return a
	}
	for name, test := range map[string]struct {
		artifact store.Artifact
		want     string
	}{
		"name with a way up":       {changed(func(a *store.Artifact) { a.Name = "../foo" }), "not a plugin's name"},
		"name with a slash":        {changed(func(a *store.Artifact) { a.Name = "a/b" }), "not a plugin's name"},
		"built-in command":         {changed(func(a *store.Artifact) { a.Name = "release" }), "a command of harmony itself"},
		"version with a way up":    {changed(func(a *store.Artifact) { a.Version = "1.0.0/../../x" }), "not a semantic version"},
		"version of dots":          {changed(func(a *store.Artifact) { a.Version = ".." }), "not a semantic version"},
		"long version":             {changed(func(a *store.Artifact) { a.Version = "1.2.0-" + strings.Repeat("x", 200) }), "not a semantic version"},
		"bin with a way up":        {changed(func(a *store.Artifact) { a.Bin = "../../../bin/sh" }), "not a path within the archive"},
		"absolute bin":             {changed(func(a *store.Artifact) { a.Bin = "/bin/sh" }), "not a path within the archive"},
		"no bin":                   {changed(func(a *store.Artifact) { a.Bin = "bin/other" }), "has no executable bin/other"},
		"a folder as bin":          {changed(func(a *store.Artifact) { a.Bin = "bin" }), "has no executable bin"},
		"no hash":                  {changed(func(a *store.Artifact) { a.SHA256 = "" }), "has no hash or no size"},
		"short hash":               {changed(func(a *store.Artifact) { a.SHA256 = "abc" }), "has no hash or no size"},
		"no size":                  {changed(func(a *store.Artifact) { a.Size = 0 }), "has no hash or no size"},
		"other hash":               {changed(func(a *store.Artifact) { a.SHA256 = strings.Repeat("0", 64) }), "not the artifact that the index describes"},
		"other executable":         {changed(func(a *store.Artifact) { a.Executable = strings.Repeat("0", 64) }), "the lock file requires"},
		"newer protocol":           {changed(func(a *store.Artifact) { a.Protocol = protocol.ProtocolRange{Min: 7, Max: 9} }), "speaks protocol 7 to 9, harmony 1 to 1: no version in common"},
		"another plugin, hostile":  {artifactOf(t, "bar", "1.2.0", tarGz(t, map[string]string{"/x": "x"})), "absolute path"},
		"hostile archive":          {artifactOf(t, "foo", "1.2.0", tarGz(t, map[string]string{"../x": "x"})), "leads out of the archive"},
		"older":                    {plugin(t, "foo", "1.0.0"), "the installed version 1.1.0 is newer"},
		"same version, other file": {artifactOf(t, "foo", "1.1.0", tarGz(t, map[string]string{"bin/tool": "#!/bin/sh\necho evil\n"})), "a published version never changes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Install(t.Context(), test.artifact, store.InstallOptions{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if got := runs(t, s, "foo"); got != "1.1.0" {
				t.Errorf("runs %s now", got)
			}
			if got := everything(t, s.Folder); !slices.Equal(got, before) {
				t.Errorf("left files: %v", got)
			}
		})
	}
}

// An artifact is a tar.gz, a zip or the executable itself.
func TestInstallForms(t *testing.T) {
	var zipped bytes.Buffer
	w := zip.NewWriter(&zipped)
	f, err := w.Create("bin/tool")
	must(t, err)
	_, err = io.WriteString(f, script("1.0.0"))
	must(t, errors.Join(err, w.Close()))
	for name, data := range map[string][]byte{
		"tar-gz": tarGz(t, map[string]string{"bin/tool": script("1.0.0")}), "zip": zipped.Bytes(), "bare": []byte(script("1.0.0")),
	} {
		s := newStore(t)
		a := artifactOf(t, name, "1.0.0", data)
		if name == "bare" {
			a.Bin = ""
		}
		if install(t, s, a); runs(t, s, name) != "1.0.0" {
			t.Errorf("%s: runs %q", name, runs(t, s, name))
		}
		out, err := exec.Command(filepath.Join(s.Bin(), "harmony-"+name)).Output()
		if err != nil || string(out) != "1.0.0\n" {
			t.Errorf("%s: says %q, %v", name, out, err)
		}
	}
}

// everything lists all files and folders below a folder.
func everything(t testing.TB, folder string) []string {
	t.Helper()
	var list []string
	must(t, filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		list = append(list, strings.TrimPrefix(path, folder))
		return err
	}))
	return list[1:]
}

// What was damaged is put right by installing it again; what somebody else put
// there stays.
func TestInstallRepairs(t *testing.T) {
	s := newStore(t)
	one, two := plugin(t, "foo", "1.0.0"), plugin(t, "foo", "1.1.0")
	install(t, s, one)
	install(t, s, two)
	installed, err := s.Installed("foo")
	must(t, err)
	for name, damage := range map[string]func() error{
		"changed executable": func() error { return os.WriteFile(installed.Path, []byte("#!/bin/sh\necho evil\n"), 0o755) },
		"no executable":      func() error { return os.Remove(installed.Path) },
		"no record":          func() error { return os.Remove(filepath.Join(filepath.Dir(installed.Path), "..", "..", "plugin.json")) },
		"link to another file": func() error {
			link := filepath.Join(s.Bin(), "harmony-foo")
			target, err := os.Readlink(link)
			return errors.Join(err, os.Remove(link), os.Symlink(strings.Replace(target, "bin/tool", "share/data", 1), link))
		},
		"garbage as record": func() error {
			return os.WriteFile(filepath.Join(filepath.Dir(installed.Path), "..", "..", "plugin.json"), []byte("{"), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			installed, err = s.Installed("foo")
			must(t, err)
			must(t, damage())
			if _, broken, err := s.All(); err != nil || len(broken) != 1 {
				t.Errorf("broken: %v, %v", broken, err)
			}
			install(t, s, two)
			if got := runs(t, s, "foo"); got != "1.1.0" {
				t.Errorf("runs %s", got)
			}
			if _, broken, err := s.All(); err != nil || len(broken) != 0 {
				t.Errorf("still broken: %v, %v", broken, err)
			}
		})
	}
	for name, put := range map[string]func(path string) error{
		"a file":                     func(path string) error { return os.WriteFile(path, []byte("mine"), 0o755) },
		"a link":                     func(path string) error { return os.Symlink("/bin/sh", path) },
		"a link into another plugin": func(path string) error { return os.Symlink("../plugins/foo/x/files/y", path) },
		"a link upwards":             func(path string) error { return os.Symlink("../plugins/mine/../../x", path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(s.Bin(), "harmony-mine")
			must(t, put(path))
			defer os.Remove(path)
			_, err := s.Install(t.Context(), plugin(t, "mine", "1.0.0"), store.InstallOptions{})
			if err == nil || !strings.Contains(err.Error(), "was not created by harmony plugin install") {
				t.Errorf("got %v", err)
			}
			if _, err := s.Uninstall(t.Context(), "mine"); err == nil {
				t.Error("uninstalled what is not ours")
			}
			if _, err := os.Lstat(path); err != nil {
				t.Error(err)
			}
		})
	}
}

// Rolling back to what is gone or damaged is refused.
func TestRollbackRefuses(t *testing.T) {
	s := newStore(t)
	install(t, s, plugin(t, "foo", "1.0.0"))
	if _, err := s.Rollback(t.Context(), "foo"); err == nil || !strings.Contains(err.Error(), "no previous version of 1.0.0") {
		t.Errorf("got %v", err)
	}
	before, err := s.Installed("foo")
	must(t, err)
	install(t, s, plugin(t, "foo", "1.1.0"))
	must(t, os.WriteFile(before.Path, []byte("evil"), 0o755))
	if _, err := s.Rollback(t.Context(), "foo"); err == nil || !strings.Contains(err.Error(), "has changed since it was installed") {
		t.Errorf("got %v", err)
	}
	must(t, os.RemoveAll(filepath.Join(filepath.Dir(before.Path), "..", "..")))
	if _, err := s.Rollback(t.Context(), "foo"); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("got %v", err)
	}
	now, err := s.Installed("foo")
	must(t, err)
	record := filepath.Join(filepath.Dir(now.Path), "..", "..", "plugin.json")
	data, err := os.ReadFile(record)
	must(t, err)
	must(t, os.WriteFile(record, []byte(strings.Replace(string(data), now.Previous, "../../../evil", 1)), 0o644))
	if _, err := s.Rollback(t.Context(), "foo"); err == nil || !strings.Contains(err.Error(), "is not a folder of a version") {
		t.Errorf("got %v", err)
	}
	if got := runs(t, s, "foo"); got != "1.1.0" {
		t.Errorf("runs %s", got)
	}
}

// Several at once wait for each other, and what an earlier one left unfinished
// goes away.
func TestInstallsAtOnce(t *testing.T) {
	s := newStore(t)
	for _, path := range []string{"plugins/.new-1/x", "plugins/foo/.new-2/y", "bin/.new-foo"} {
		path = filepath.Join(s.Folder, path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, nil, 0o600))
	}
	var all sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		a := plugin(t, fmt.Sprintf("foo%d", i%2), fmt.Sprintf("1.%d.0", i))
		all.Go(func() {
			_, errs[i] = s.Install(t.Context(), a, store.InstallOptions{AllowDowngrade: true})
		})
	}
	all.Wait()
	must(t, errors.Join(errs...))
	list, broken, err := s.All()
	if err != nil || len(broken) > 0 || len(list) != 2 {
		t.Errorf("%v, %v, %v", list, broken, err)
	}
	for _, path := range everything(t, s.Folder) {
		if strings.Contains(path, ".new-") {
			t.Errorf("%s is left", path)
		}
	}
}

// Measure tells the hash of the executable and keeps nothing.
func TestMeasure(t *testing.T) {
	s := newStore(t)
	sum, err := s.Measure(t.Context(), plugin(t, "foo", "1.0.0"))
	if err != nil || sum != hashOf([]byte(script("1.0.0"))) {
		t.Errorf("%s, %v", sum, err)
	}
	if list, broken, err := s.All(); len(list)+len(broken) > 0 || err != nil {
		t.Errorf("%v, %v, %v", list, broken, err)
	}
	if left := everything(t, s.Folder); len(left) != 3 { // bin, plugins and the lock
		t.Errorf("left %v", left)
	}
}
