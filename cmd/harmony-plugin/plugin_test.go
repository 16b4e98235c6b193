package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/plugins/artifact"
	pluginlock "github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/store"
)

// A plugin's life is the same from every kind of index.
func TestLifeFromEveryIndex(t *testing.T) {
	for kind, start := range map[string]func(testing.TB) published{
		"folder": folderIndex, "git": gitIndex, "https": httpsIndex, "oci": ociIndex,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			index := start(t)
			index.publish("1.0.0")
			s := newSandbox(t, index.env...)
			s.use(index.url)
			if out := s.must("install", "foo"); out != "installed foo 1.0.0\n" {
				t.Errorf("said %q", out)
			}
			if got := s.says("foo"); got != "foo 1.0.0 data of 1.0.0" {
				t.Errorf("runs %q", got)
			}
			s.must("lock")
			index.publish("1.1.0")
			var done []store.Result
			must(t, json.Unmarshal([]byte(s.must("upgrade", "--all", "-o", "json")), &done))
			if len(done) != 1 || done[0].Outcome != "upgraded" || done[0].Previous != "1.0.0" || s.says("foo") != "foo 1.1.0 data of 1.1.0" {
				t.Errorf("%+v, runs %q", done, s.says("foo"))
			}
			if out := s.must("upgrade", "foo"); !strings.Contains(out, "is already installed") {
				t.Errorf("said %q", out)
			}
			if out := s.must("rollback", "foo"); out != "rolled foo back from 1.1.0 to 1.0.0\n" || s.says("foo") != "foo 1.0.0 data of 1.0.0" {
				t.Errorf("said %q, runs %q", out, s.says("foo"))
			}
			s.must("install", "corp/foo@1.1.0")

			// The lock file still says 1.0.0: here, and for somebody who has no index.
			// What is synced is the project's alone.
			if out := s.must("sync"); out != "installed foo 1.0.0\n" || s.synced("foo") != "foo 1.0.0 data of 1.0.0" || s.says("foo") != "foo 1.1.0 data of 1.1.0" {
				t.Errorf("said %q, runs %q, elsewhere %q", out, s.synced("foo"), s.says("foo"))
			}
			other := newSandbox(t, index.env...)
			must(t, os.Rename(s.lock(), other.lock()))
			if out := other.must("sync"); out != "installed foo 1.0.0\n" || other.synced("foo") != "foo 1.0.0 data of 1.0.0" {
				t.Errorf("said %q, runs %q", out, other.synced("foo"))
			}
			if _, err := os.Lstat(filepath.Join(other.bin(), "harmony-foo")); !os.IsNotExist(err) {
				t.Errorf("it was installed for all projects: %v", err)
			}
			if out := other.must("sync"); !strings.Contains(out, "already installed") {
				t.Errorf("said %q", out)
			}
			must(t, os.WriteFile(other.lock(), []byte("apiVersion: harmony.nationtech.io/v1\nkind: PluginLock\nspec: {plugins: []}\n"), 0o644))
			if out := other.must("sync"); out != "uninstalled foo 1.0.0\n" {
				t.Errorf("said %q", out)
			}
			if out := s.must("uninstall", "foo"); out != "uninstalled foo 1.1.0\n" {
				t.Errorf("said %q", out)
			}
			if _, err := os.Lstat(filepath.Join(s.bin(), "harmony-foo")); !os.IsNotExist(err) {
				t.Errorf("it is still there: %v", err)
			}
			s.refuse(1, "it is not installed", "uninstall", "foo")
		})
	}
}

func TestInstallTells(t *testing.T) {
	index := folderIndex(t)
	index.publish("1.0.0")
	s := newSandbox(t)
	s.use(index.url)
	_, _, stderr := s.run("install", "foo")
	if !strings.Contains(stderr, "foo: Set FOO[2J first.") || strings.Contains(stderr, "\x1b") {
		t.Errorf("caveats: %q", stderr)
	}
	if strings.Contains(stderr, "not on PATH") {
		t.Errorf("said %q", stderr)
	}
	s.must("uninstall", "foo")
	s.env = append(s.env, "PATH=/usr/bin:/bin")
	if _, _, stderr = s.run("install", "foo"); !strings.Contains(stderr, s.bin()+" is not on PATH: add  export PATH=") {
		t.Errorf("said %q", stderr)
	}
	s.must("uninstall", "foo")
	first := t.TempDir()
	must(t, os.WriteFile(filepath.Join(first, "harmony-foo"), []byte("#!/bin/sh\n"), 0o755))
	s.env = append(s.env, "PATH="+first+":"+s.bin())
	if _, _, stderr = s.run("install", "foo"); !strings.Contains(stderr, first+"/harmony-foo, which comes first on PATH") {
		t.Errorf("said %q", stderr)
	}
}

func TestInstallRefuses(t *testing.T) {
	index := folderIndex(t)
	index.publish("1.0.0")
	s := newSandbox(t)
	s.use(index.url)
	index.publish("1.1.0")
	s.must("install", "foo")
	must(t, os.WriteFile(filepath.Join(index.url, "release.yaml"), manifestOf("release", "1.0.0", "file:///x", nil), 0o644))
	s.refuse(2, "a command of harmony itself", "install", "release")
	s.refuse(2, "there is no index", "install", "../foo")
	s.refuse(2, "not a plugin's name", "install", "Foo")
	s.refuse(2, "is not a semantic version", "install", "foo@../1.0.0")
	s.refuse(2, "has no version after the @", "install", "foo@")
	s.refuse(2, "given twice", "install", "foo", "corp/foo")
	s.refuse(3, "no index has a plugin fooo", "install", "fooo")
	s.refuse(2, "requires at least 1 arg", "install")
	s.refuse(2, "unknown flag", "install", "--nonsense", "foo")
	s.refuse(2, `--output "yaml" is not one of`, "install", "foo", "-o", "yaml")
	s.refuse(2, "name the plugins to upgrade", "upgrade")
	s.refuse(1, "it is not installed", "rollback", "bar")
	s.refuse(2, "there is no previous version of", "rollback", "foo")
	s.refuse(2, `unknown command "nonsense" for "harmony plugin"`, "nonsense")

	// An older version takes its exact version and the flag.
	old, data := writeArtifact(t, index.url, "0.9.0")
	must(t, os.WriteFile(filepath.Join(index.url, "foo@0.9.0.yaml"), manifestOf("foo", "0.9.0", "file://"+filepath.Join(index.url, old), data), 0o644))
	s.refuse(2, "the installed version 1.1.0 is newer", "install", "foo@0.9.0")
	if out := s.must("install", "foo@0.9.0", "--allow-downgrade"); out != "downgraded foo from 1.1.0 to 0.9.0\n" {
		t.Errorf("said %q", out)
	}

	// What was published changes under its version.
	index.publish("1.2.0")
	must(t, os.WriteFile(filepath.Join(index.url, "foo-1.2.0.tar.gz"), []byte("#!/bin/sh\necho evil\n"), 0o644))
	s.refuse(4, "download ended early", "install", "foo")
	if got := s.says("foo"); got != "foo 0.9.0 data of 0.9.0" {
		t.Errorf("runs %q", got)
	}
}

// A name of harmony's own plugins is taken only when that is asked for, whether it
// comes from an index or from a project's lock file.
func TestReplaceSuite(t *testing.T) {
	index := folderIndex(t)
	index.publish("1.0.0")
	file, data := writeArtifact(t, index.url, "9.9.9")
	manifest := bytes.ReplaceAll(manifestOf("deploy", "9.9.9", "file://"+filepath.Join(index.url, file), data), []byte("stage: smoke"), []byte("stage: deploy"))
	must(t, os.WriteFile(filepath.Join(index.url, "deploy.yaml"), manifest, 0o644))
	s := newSandbox(t)
	s.use(index.url)
	s.refuse(2, "--replace-suite", "install", "foo", "deploy")
	s.refuse(1, "it is not installed", "uninstall", "foo") // nothing was started
	s.must("lock", "deploy")
	s.refuse(2, "harmony deploy is part of harmony", "sync")
	s.must("sync", "--replace-suite")
	if got := s.synced("deploy"); got != "foo 9.9.9 data of 9.9.9" {
		t.Errorf("synced %q", got)
	}
	if _, err := os.Lstat(filepath.Join(s.bin(), "harmony-deploy")); !os.IsNotExist(err) {
		t.Errorf("it reaches other projects: %v", err)
	}
	s.must("sync") // it was permitted for this project
	s.must("install", "deploy", "--replace-suite")
	if version, replaces := artifact.Link(filepath.Join(s.bin(), "harmony-deploy")); version != "9.9.9" || !replaces {
		t.Errorf("installed %q, replacing %v", version, replaces)
	}
	s.must("upgrade", "deploy")
}

// A plugin's own --allow-downgrade lets no other plugin of the index go back.
func TestDowngradeOfOne(t *testing.T) {
	index := folderIndex(t)
	write := func(version string) {
		for _, name := range []string{"aa", "bb"} {
			file, data := writeArtifact(t, index.url, version)
			must(t, os.WriteFile(filepath.Join(index.url, name+".yaml"), manifestOf(name, version, "file://"+filepath.Join(index.url, file), data), 0o644))
		}
	}
	write("1.1.0")
	s := newSandbox(t)
	s.use(index.url)
	write("1.0.0")
	s.refuse(1, "it offers aa 1.0.0 as the newest, and has offered 1.1.0 before", "install", "bb")
	s.must("install", "aa@1.0.0", "--allow-downgrade")
	s.refuse(1, "it offers bb 1.0.0 as the newest, and has offered 1.1.0 before", "install", "bb")
	s.refuse(1, "it offers bb 1.0.0", "install", "aa@1.0.0", "bb@1.0.0")
	s.must("install", "bb", "--allow-index-downgrade")
	s.must("install", "aa", "bb")
}

func TestLock(t *testing.T) {
	index := folderIndex(t)
	index.publish("1.0.0")
	s := newSandbox(t)
	s.refuse(2, s.lock()+" does not exist", "sync")
	s.use(index.url)
	s.must("lock", "foo")
	lock, err := pluginlock.Read(s.lock())
	must(t, err)
	foo, ok := lock.Plugin("foo")
	if !ok || foo.Version != "1.0.0" || len(foo.Platforms) != 2 {
		t.Fatalf("%+v", lock)
	}
	for _, p := range foo.Platforms {
		if p.Executable != hashOf([]byte(pluginFiles("1.0.0")["bin/harmony-foo"])) {
			t.Errorf("%+v", p)
		}
	}
	before, err := os.ReadFile(s.lock())
	must(t, err)
	s.must("lock")
	if after, err := os.ReadFile(s.lock()); err != nil || string(after) != string(before) {
		t.Errorf("written anew it differs: %v\n%s", err, after)
	}

	// Pinned again it is what is installed, not what is newest.
	s.must("install", "foo")
	index.publish("1.1.0")
	must(t, os.WriteFile(filepath.Join(index.url, "foo@1.0.0.yaml"), manifestOf("foo", "1.0.0", foo.Platforms[0].URI, tarGz(t, pluginFiles("1.0.0"))), 0o644))
	s.must("install", "foo@1.1.0", "--lock")
	if lock, err = pluginlock.Read(s.lock()); err != nil || lock.Plugins[0].Version != "1.1.0" {
		t.Errorf("%+v, %v", lock, err)
	}
	s.refuse(3, "does not support linux/riscv64", "lock", "foo", "--platform", "linux/riscv64")

	// A lock file that was tampered with.
	text, err := os.ReadFile(s.lock())
	must(t, err)
	s.must("uninstall", "foo")
	for change, want := range map[[2]string]string{
		{"executable: ", "executable: 0"}:          "must be a SHA-256",
		{"version: 1.1.0", "version: ../../1.1.0"}: "is not a semantic version",
		{"name: foo", "name: ../foo"}:              "is not a plugin's name",
		{"name: foo", "name: release"}:             "a command of harmony itself",
		{"size: ", "site: "}:                       "did you mean size?",
		{"bin: bin/", "bin: ../../../bin/"}:        "not a path within the archive",
	} {
		must(t, os.WriteFile(s.lock(), []byte(strings.ReplaceAll(string(text), change[0], change[1])), 0o644))
		s.refuse(2, want, "sync")
	}
	must(t, os.WriteFile(s.lock(), []byte(strings.ReplaceAll(string(text), "executable: ", "executable: "+strings.Repeat("a", 64)+" #")), 0o644))
	s.refuse(1, "the lock file requires", "sync")
	if _, err := os.Lstat(filepath.Join(s.bin(), "harmony-foo")); !os.IsNotExist(err) {
		t.Errorf("something was installed: %v", err)
	}
}
