package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
)

// An index is added, listed, updated and removed; with a key, what it did not
// sign is refused and leaves everything as it was.
func TestIndexCommands(t *testing.T) {
	public, private, err := minisign.GenerateKey(rand.Reader)
	must(t, err)
	index := folderIndex(t)
	index.publish("1.0.0")
	sign := func() {
		manifest := filepath.Join(index.url, "foo.yaml")
		data, err := os.ReadFile(manifest)
		must(t, err)
		must(t, os.WriteFile(manifest+".minisig", minisign.Sign(private, data), 0o644))
	}
	s := newSandbox(t)
	key := filepath.Join(s.project, "corp.pub")
	text, err := public.MarshalText()
	must(t, err)
	must(t, os.WriteFile(key, text, 0o644))

	s.refuse(1, "is not signed: there is no foo.yaml.minisig", "index", "add", "corp", index.url, "--key", "corp.pub")
	sign()
	if out := s.must("index", "add", "corp", index.url, "--key", "corp.pub"); out != "added index corp (signed)\n" {
		t.Errorf("said %q", out)
	}
	s.must("index", "remove", "default")
	s.refuse(2, "index corp already exists", "index", "add", "corp", index.url)
	s.refuse(2, "neither a minisign key", "index", "add", "other", index.url, "--key", "nowhere.pub")
	s.refuse(2, "index.key: is not a public key", "index", "add", "other", index.url, "--key", "harmony.yaml")
	s.refuse(2, "an index cannot be at ext://…", "index", "add", "other", "ext::sh -c id")
	s.refuse(2, "index.name", "index", "add", "../other", index.url)

	var listed []configured
	must(t, json.Unmarshal([]byte(s.must("index", "list", "-o", "json")), &listed))
	if len(listed) != 1 || listed[0].Name != "corp" || listed[0].URL != index.url || !listed[0].Signed {
		t.Errorf("listed %+v", listed)
	}
	if out := s.must("index", "list"); !strings.Contains(out, "corp  "+index.url+"  signed") {
		t.Errorf("listed %s", out)
	}
	if out := s.must("__complete", "index", "remove", ""); !strings.HasPrefix(out, "corp\t"+index.url) {
		t.Errorf("completed %q", out)
	}

	index.publish("1.1.0") // with the signature of 1.0.0
	s.refuse(1, "index corp is refused: foo.yaml is not signed by the index's key", "index", "update")
	s.refuse(1, "is not signed by the index's key", "install", "foo")
	sign()
	s.must("index", "update", "corp")
	index.publish("1.0.0")
	sign()
	s.refuse(1, "it offers foo 1.0.0 as the newest, and has offered 1.1.0 before", "index", "update")
	s.refuse(1, "has offered 1.1.0 before", "install", "foo")
	s.must("index", "update", "--allow-downgrade")
	s.must("install", "foo")

	empty := filepath.Join(t.TempDir(), "corp.pub")
	must(t, os.WriteFile(empty, []byte("\n"), 0o600))
	for _, key := range []string{"", "  ", empty, filepath.Join(t.TempDir(), "none.pub")} {
		s.refuse(2, "--key", "index", "add", "again", index.url, "--key", key)
	}

	s.refuse(2, `there is no index "crop"`, "index", "remove", "crop")
	if out := s.must("index", "remove", "corp"); out != "removed index corp\n" {
		t.Errorf("said %q", out)
	}
	s.refuse(3, "no index has a plugin foo", "info", "foo")
	s.refuse(2, `no command "harmony plugin index nonsense"`, "index", "nonsense")
}

func TestSearchAndInfo(t *testing.T) {
	index := folderIndex(t)
	index.publish("1.0.0")
	s := newSandbox(t)
	s.use(index.url)
	if out := s.must("search", "VERSION"); !strings.Contains(out, "foo   1.0.0    corp   Says its version") {
		t.Errorf("found\n%s", out)
	}
	if code, out, said := s.run("search", "nothing"); code != 0 || out != "" || said != "no plugin found\n" {
		t.Errorf("exit status %d, %q, %q", code, out, said)
	}
	if out := s.must("search", "nothing", "-o", "json"); out != "[]\n" {
		t.Errorf("found %q", out)
	}
	if out := s.must("__complete", "info", "f"); !strings.HasPrefix(out, "foo\tSays its version\n") {
		t.Errorf("completed %q", out)
	}
	var offers []offer
	must(t, json.Unmarshal([]byte(s.must("search", "-o", "json")), &offers))
	if len(offers) != 1 || offers[0].Name != "foo" || offers[0].Version != "1.0.0" || offers[0].Index != "corp" || offers[0].Stage != "smoke" {
		t.Errorf("offers %+v", offers)
	}
	out := s.must("info", "foo")
	for _, want := range []string{"Version:    1.0.0\n", "Index:      corp (not signed)\n", "Offers:     the stage smoke\n", "plan9/amd64", "Set FOO[2J first."} {
		if !strings.Contains(out, want) {
			t.Errorf("info says nothing of %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("a control character: %q", out)
	}
	var shown details
	must(t, json.Unmarshal([]byte(s.must("info", "corp/foo@1.0.0", "-o", "json")), &shown))
	if shown.Name != "foo" || shown.Version != "1.0.0" || len(shown.Manifest.Platforms) != 2 || strings.Contains(shown.Manifest.Caveats, "\x1b") {
		t.Errorf("shown %+v", shown)
	}
	s.refuse(3, "there is no version 2.0.0 of plugin foo", "info", "foo@2.0.0")
	s.refuse(2, "has no version after the @", "info", "foo@")
	s.refuse(3, "did you mean foo?", "info", "fooo")

	// One bad manifest is told of, and hides no other; what is known of an index
	// that fails is no reason to hide those that do not.
	must(t, os.WriteFile(filepath.Join(index.url, "bad.yaml"), []byte("kind: Plugin\nname: \"\\e[31mred\"\n"), 0o644))
	code, out, said := s.run("search")
	if code != 0 || !strings.Contains(out, "foo") || !strings.Contains(said, "corp/bad.yaml:2: name: unknown field") || strings.Contains(said, "\x1b") {
		t.Errorf("exit status %d, %q, %q", code, out, said)
	}
	empty := t.TempDir()
	s.must("index", "add", "gone", empty)
	must(t, os.Remove(empty))
	if code, out, said = s.run("search"); code != 2 || !strings.Contains(out, "foo") || !strings.Contains(said, "does not exist") {
		t.Errorf("exit status %d, %q, %q", code, out, said)
	}
	if out := s.must("info", "foo", "--index", index.url); !strings.Contains(out, "corp (not signed)") {
		t.Errorf("info says\n%s", out)
	}
}

// A folder of manifests is checked and listed, and is then an https tree.
func TestIndexBuild(t *testing.T) {
	index := folderIndex(t)
	index.publish("1.0.0")
	s := newSandbox(t)
	list := filepath.Join(index.url, "index.yaml")
	s.must("index", "build", index.url)
	first, err := os.ReadFile(list)
	must(t, err)
	manifest, err := os.ReadFile(filepath.Join(index.url, "foo.yaml"))
	must(t, err)
	if !bytes.Contains(first, []byte("- file: foo.yaml\n      sha256: "+hashOf(manifest))) {
		t.Errorf("listed\n%s", first)
	}
	must(t, os.WriteFile(filepath.Join(index.url, "Bar.yml"), manifest, 0o644))
	s.refuse(2, "Bar.yml is not the name of a manifest", "index", "build", index.url)
	must(t, os.Rename(filepath.Join(index.url, "Bar.yml"), filepath.Join(index.url, "bar.yaml")))
	s.refuse(2, "contains the manifest of foo 1.0.0", "index", "build", index.url)
	if after, err := os.ReadFile(list); err != nil || !bytes.Equal(after, first) {
		t.Errorf("the list was written anew: %v", err)
	}
	s.refuse(2, "contains no manifest", "index", "build", t.TempDir())
	s.refuse(2, "nowhere does not exist", "index", "build", "nowhere")
}
