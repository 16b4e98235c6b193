package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// suite are the binaries that scripts/install.sh installs.
var suite = []string{"harmony", "harmony-build", "harmony-chart", "harmony-deploy", "harmony-devices", "harmony-monitor", "harmony-plugin", "harmony-publish", "harmony-registry", "harmony-smoke"}

// standIns makes a folder with a script for each binary of the suite, which
// tells its version as the binary does; test/e2e installs the real ones.
func standIns(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range suite {
		writeScript(t, filepath.Join(dir, name), version)
	}
	return dir
}

// writeScript makes a program that answers `version` as the binary of the name.
func writeScript(t *testing.T, path, version string) {
	t.Helper()
	answer := version
	if filepath.Base(path) == "harmony" {
		answer = "harmony " + version
	}
	script := fmt.Sprintf("#!/bin/sh\n[ \"$*\" = version ] && echo '%s'\n", answer)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// install runs the script and returns its exit status and what it said.
func install(t *testing.T, from, prefix string) (int, string) {
	t.Helper()
	cmd := exec.Command("../scripts/install.sh", from)
	cmd.Env = append(os.Environ(), "PREFIX="+prefix)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// installed lists what lies in the folder, and checks that all tell the version.
func installed(t *testing.T, bin, version string) []string {
	t.Helper()
	entries, err := os.ReadDir(bin)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
		out, err := exec.Command(filepath.Join(bin, entry.Name()), "version").Output()
		if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), version) {
			t.Errorf("%s version: %q, %v; want %s", entry.Name(), out, err, version)
		}
	}
	return names
}

func TestInstallThenReplace(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "new", "prefix")
	for _, version := range []string{"1.0.0", "1.1.0", "1.1.0"} {
		code, said := install(t, standIns(t, version), prefix)
		if code != 0 || !strings.Contains(said, "installed harmony "+version) {
			t.Fatalf("exit status %d: %s", code, said)
		}
		if got := installed(t, filepath.Join(prefix, "bin"), version); !slices.Equal(got, suite) {
			t.Errorf("installed %v, want %v", got, suite)
		}
	}
}

// Under umask 002 too nobody else can write what was installed: harmony would refuse
// to run it.
func TestInstallIsWritableByNobodyElse(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "new", "prefix")
	cmd := exec.Command("sh", "-c", "umask 002; exec ../scripts/install.sh "+standIns(t, "1.0.0"))
	cmd.Env = append(os.Environ(), "PREFIX="+prefix)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, file := range []string{filepath.Dir(prefix), prefix, prefix + "/bin", prefix + "/bin/harmony", prefix + "/bin/harmony-build"} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}

// All of the binaries or none: whatever is wrong, what was there before stays.
func TestInstallIsWholeOrNothing(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, from, prefix string)
		says  string
	}{
		{"missing", func(t *testing.T, from, _ string) { remove(t, from, "harmony-smoke") }, "harmony-smoke is missing"},
		{"not executable", func(t *testing.T, from, _ string) { chmod(t, from, "harmony-publish", 0o644) }, "harmony-publish is missing"},
		{"another version", func(t *testing.T, from, _ string) {
			writeScript(t, filepath.Join(from, "harmony-registry"), "1.9.9")
		}, "harmony-registry is of version 1.9.9"},
		{"does not run", func(t *testing.T, from, _ string) {
			write(t, from, "harmony-deploy", "#!/bin/sh\nexit 1\n")
		}, "harmony-deploy does not run here"},
		{"is for another machine", func(t *testing.T, from, _ string) {
			write(t, from, "harmony", "\x7fELF\x02\x01\x01\x00 for none")
		}, "harmony does not run here"},
		{"tells no version", func(t *testing.T, from, _ string) {
			write(t, from, "harmony", "#!/bin/sh\n")
		}, "harmony does not report its version"},
		{"a folder in its place", func(t *testing.T, _, prefix string) {
			remove(t, prefix, "bin/harmony-smoke")
			if err := os.Mkdir(filepath.Join(prefix, "bin", "harmony-smoke"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "harmony-smoke is a folder"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			prefix, from := t.TempDir(), standIns(t, "2.0.0")
			if code, said := install(t, standIns(t, "1.0.0"), prefix); code != 0 {
				t.Fatalf("exit status %d: %s", code, said)
			}
			test.spoil(t, from, prefix)
			before := snapshot(t, prefix)
			code, said := install(t, from, prefix)
			if code != 1 || !strings.Contains(said, test.says) || !strings.Contains(said, "nothing was installed") {
				t.Errorf("exit status %d, said %q; want 1 and %q", code, said, test.says)
			}
			if after := snapshot(t, prefix); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// Root may write everywhere, so the folders here are none that can be made or
// written by anybody.
func TestInstallIntoWhatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	prefixes := map[string]string{"a file": file}
	if _, err := os.Stat("/proc/self/fd"); err == nil {
		prefixes["a system's folder"] = "/proc"
		link := t.TempDir()
		if err := os.Symlink("/proc", filepath.Join(link, "bin")); err != nil {
			t.Fatal(err)
		}
		prefixes["a folder that exists and takes no files"] = link
	}
	for name, prefix := range prefixes {
		code, said := install(t, standIns(t, "1.0.0"), prefix)
		if code != 1 || !strings.Contains(said, "nothing was installed") {
			t.Errorf("%s: exit status %d, said %q; want 1", name, code, said)
		}
	}
}

// snapshot tells all files below a folder, with their content.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintln(&list, path, entry.Type())
		if entry.Type().IsRegular() {
			text, err := os.ReadFile(path)
			list.Write(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, dir, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
		t.Fatal(err)
	}
}
