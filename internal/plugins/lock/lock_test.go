package lock_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	pluginlock "github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/pkg/protocol"
)

var hash = strings.Repeat("0123456789abcdef", 4)

func pinned(name, version string, platforms ...string) pluginlock.Plugin {
	p := pluginlock.Plugin{Name: name, Version: version}
	for _, platform := range platforms {
		p.Platforms = append(p.Platforms, pluginlock.Platform{
			Platform: platform, Artifact: artifact.Artifact{URI: "https://example.com/" + name, SHA256: hash, Size: 12}, Executable: hash,
		})
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What is written is read back, sorted, and the same each time.
func TestWriteAndRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), pluginlock.FileName)
	lock := pluginlock.Lock{}.With(pinned("zebra", "1.0.0", "linux/amd64")).With(pinned("ant", "1.0.0+build.1", "linux/arm64", "darwin/arm64"))
	must(t, lock.Write(file))
	first, err := os.ReadFile(file)
	must(t, err)
	read, err := pluginlock.Read(file)
	if err != nil || !reflect.DeepEqual(read, lock) {
		t.Fatalf("%+v, want %+v (%v)", read, lock, err)
	}
	if ant := read.Plugins[0]; ant.Name != "ant" || ant.Platforms[0].Platform != "darwin/arm64" {
		t.Errorf("not sorted: %+v", read)
	}
	must(t, read.With(pinned("ant", "1.0.0+build.1", "darwin/arm64", "linux/arm64")).Write(file))
	if again, err := os.ReadFile(file); err != nil || string(again) != string(first) {
		t.Errorf("another time:\n%s", again)
	}
	must(t, pluginlock.Lock{}.Write(file))
	if read, err := pluginlock.Read(file); err != nil || len(read.Plugins) != 0 {
		t.Errorf("%+v, %v", read, err)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("files beside it: %v, %v", entries, err)
	}
}

// The example of the documentation is one.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/plugins.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "\n```yaml\n")
	block, _, _ := strings.Cut(rest, "\n```")
	file := filepath.Join(t.TempDir(), pluginlock.FileName)
	must(t, os.WriteFile(file, []byte(block), 0o600))
	if lock, err := pluginlock.Read(file); err != nil || len(lock.Plugins) != 1 {
		t.Errorf("%+v, %v", lock, err)
	}
}

func TestReadRefuses(t *testing.T) {
	good := `apiVersion: harmony.nationtech.io/v1
kind: PluginLock
spec:
  plugins:
    - name: ant
      version: 1.0.0
      platforms:
        - {platform: linux/amd64, uri: x, sha256: HASH, size: 1, executable: HASH}
`
	for name, test := range map[string]struct{ old, new, want string }{
		"unknown field":      {"version:", "versoin:", `lock:6: spec.plugins[0].versoin: unknown field, did you mean version?`},
		"another kind":       {"PluginLock", "Plugin", `"Plugin" is not a kind of this file`},
		"another version":    {"/v1", "/v2", `lock:1: apiVersion: "harmony.nationtech.io/v2" is unknown`},
		"a name":             {"ant", "../ant", `spec.plugins[0].name: "../ant" is not a plugin's name`},
		"a version":          {"1.0.0", "../x", `spec.plugins[0].version: "../x" is not a semantic version`},
		"no platform":        {"linux/amd64", "linux", `platforms[0].platform: "linux" is not os/arch`},
		"no address":         {"uri: x,", "", "platforms[0].uri: is required"},
		"no hash":            {"sha256: HASH,", "", "platforms[0].sha256: must be a SHA-256"},
		"short hash":         {"executable: HASH", "executable: abc", "platforms[0].executable: must be a SHA-256"},
		"no size":            {"size: 1", "size: 0", "platforms[0].size: must be"},
		"large size":         {"size: 1", "size: 9000000000", "platforms[0].size: must be"},
		"twice":              {"spec:\n  plugins:\n", "spec:\n  plugins:\n    - {name: ant, version: 1.0.0, platforms: [{platform: linux/amd64, uri: x, sha256: HASH, size: 1, executable: HASH}]}\n", "spec.plugins[1].name: plugins must be sorted"},
		"one platform twice": {"      platforms:\n", "      platforms:\n        - {platform: linux/amd64, uri: x, sha256: HASH, size: 1, executable: HASH}\n", "platforms[1].platform: platforms must be sorted"},
		"not YAML":           {"spec:", "spec: [", "not YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), pluginlock.FileName)
			text := strings.ReplaceAll(strings.Replace(good, test.old, test.new, 1), "HASH", hash)
			must(t, os.WriteFile(file, []byte(text), 0o600))
			_, err := pluginlock.Read(file)
			if err == nil || !strings.Contains(err.Error(), test.want) || protocol.ExitCode(err) != protocol.ExitInvalid {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	if _, err := pluginlock.Read("/dev/zero"); err == nil {
		t.Error("read what is no file")
	}
}

// The hash is kept while the file is the same, and found out again when it is
// another.
func TestCheckRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "harmony-ant")
	must(t, os.WriteFile(path, []byte("one"), 0o755))
	sum, err := artifact.HashFile(path)
	must(t, err)
	entry := pinned("ant", "1.0.0", runtime.GOOS+"/"+runtime.GOARCH)
	entry.Platforms[0].Executable = sum
	check := pluginlock.Check{File: "x", Lock: pluginlock.Lock{}.With(entry), Cache: filepath.Join(t.TempDir(), "hashes")}
	plugin := discovery.Plugin{Name: "ant", Path: path}
	kept := remembered(t, check, plugin)
	file := filepath.Join(check.Cache, kept[0].Name())
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(strings.Replace(string(text), sum, hash, 1)), 0o600))
	if err := check.Plugin(plugin); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("the hash that is kept is not used: %v", err)
	}
	must(t, os.Chmod(file, 0o666))
	if err := check.Plugin(plugin); err != nil {
		t.Errorf("what others could have written is believed: %v", err)
	}
	must(t, errors.Join(os.RemoveAll(check.Cache), os.Mkdir(check.Cache, 0o700)))
	must(t, os.WriteFile(file, []byte("{garbage"), 0o600))
	must(t, check.Plugin(plugin))
	must(t, os.WriteFile(path, []byte("another"), 0o755))
	if err := check.Plugin(plugin); err == nil || !strings.Contains(err.Error(), "differs from x, which pins ant 1.0.0") {
		t.Errorf("got %v", err)
	}
}

// remembered holds the plugin against the lock file until its hash is kept: not
// while the file was changed a moment ago.
func remembered(t *testing.T, check pluginlock.Check, plugin discovery.Plugin) []os.DirEntry {
	t.Helper()
	for start := time.Now(); time.Since(start) < 10*time.Second; {
		must(t, check.Plugin(plugin))
		if kept, err := os.ReadDir(check.Cache); err == nil && len(kept) == 1 {
			return kept
		}
	}
	t.Fatal("no hash is kept")
	return nil
}

// Another content of the same size, with the old time of modification, is found.
func TestCheckFindsWhatHidesItsChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "harmony-ant")
	must(t, os.WriteFile(path, []byte("good"), 0o755))
	sum, err := artifact.HashFile(path)
	must(t, err)
	entry := pinned("ant", "1.0.0", runtime.GOOS+"/"+runtime.GOARCH)
	entry.Platforms[0].Executable = sum
	check := pluginlock.Check{File: "x", Lock: pluginlock.Lock{}.With(entry), Cache: filepath.Join(t.TempDir(), "hashes")}
	plugin := discovery.Plugin{Name: "ant", Path: path}
	remembered(t, check, plugin)
	info, err := os.Stat(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte("evil"), 0o755))
	must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	if err := check.Plugin(plugin); err == nil || !strings.Contains(err.Error(), "differs from x") {
		t.Errorf("got %v", err)
	}
}

// A lock file is found for the process, and the project's own plugins come first.
// In CI no hash is remembered: a cache may be somebody else's.
func TestFinder(t *testing.T) {
	project, home, path := t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("XDG_DATA_HOME", home)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("CI", "")
	t.Chdir(project)
	must(t, os.WriteFile("harmony.yaml", nil, 0o644))
	store, err := artifact.ProjectStore(os.Getenv, project)
	must(t, err)
	bin := filepath.Join(store, artifact.Bin)
	must(t, os.MkdirAll(bin, 0o755))
	for _, file := range []string{filepath.Join(bin, "harmony-ant"), filepath.Join(path, "harmony-ant"), filepath.Join(path, "harmony-bee")} {
		must(t, os.WriteFile(file, []byte(file), 0o755))
	}
	find := func(f discovery.Finder, name string) string {
		p, err := f.Find(name)
		if err != nil {
			return err.Error()
		}
		return p.Path
	}
	if got := find(pluginlock.Finder(path), "ant"); got != filepath.Join(path, "harmony-ant") {
		t.Errorf("without a lock file: %s", got)
	}
	entry := pinned("ant", "1.0.0", runtime.GOOS+"/"+runtime.GOARCH)
	entry.Platforms[0].Executable, err = artifact.HashFile(filepath.Join(bin, "harmony-ant"))
	must(t, err)
	must(t, pluginlock.Lock{}.With(entry).Write(pluginlock.FileName))
	if got := find(pluginlock.Finder(path), "ant"); got != filepath.Join(bin, "harmony-ant") {
		t.Errorf("with a lock file: %s", got)
	}
	if got := find(pluginlock.Finder(path), "bee"); !strings.Contains(got, "harmony-bee is not in ") {
		t.Errorf("one that is not pinned: %s", got)
	}
	if got := find(pluginlock.Command(path), "bee"); got != filepath.Join(path, "harmony-bee") {
		t.Errorf("one that is not pinned, by its name: %s", got)
	}
	must(t, os.Remove(filepath.Join(bin, "harmony-ant")))
	if got := find(pluginlock.Command(path), "ant"); !strings.Contains(got, "harmony-ant differs from ") {
		t.Errorf("another than the one that is pinned: %s", got)
	}
	t.Setenv(pluginlock.EnvFile, filepath.Join(path, pluginlock.FileName)) // of another project, which has none
	if got := find(pluginlock.Finder(path), "ant"); got != filepath.Join(path, "harmony-ant") {
		t.Errorf("within a release of another project: %s", got)
	}
	for ci, want := range map[string]bool{"": true, "true": false} {
		t.Setenv("CI", ci)
		if check, _, err := pluginlock.Of(project); err != nil || (check.Cache != "") != want {
			t.Errorf("CI=%q: cache %q, %v", ci, check.Cache, err)
		}
	}
}

// Only the suite's own plugins, beside harmony, need no entry.
func TestCheckExempts(t *testing.T) {
	suite, other := t.TempDir(), t.TempDir()
	for _, folder := range []string{suite, other} {
		for _, name := range []string{"smoke", "foo"} {
			must(t, os.WriteFile(filepath.Join(folder, "harmony-"+name), nil, 0o755))
		}
	}
	check := pluginlock.Check{File: "x", Suite: suite}
	for _, test := range []struct {
		folder, name string
		want         bool
	}{{suite, "smoke", true}, {suite, "foo", false}, {other, "smoke", false}} {
		err := check.Plugin(discovery.Plugin{Name: test.name, Path: filepath.Join(test.folder, "harmony-"+test.name)})
		if (err == nil) != test.want {
			t.Errorf("%+v: %v", test, err)
		}
	}
	if err := (pluginlock.Check{}).Plugin(discovery.Plugin{Name: "smoke", Path: filepath.Join(suite, "harmony-smoke")}); err == nil {
		t.Error("exempt without a suite")
	}
}
