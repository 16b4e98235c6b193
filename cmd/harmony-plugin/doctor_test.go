package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/plugins/doctor"
)

func TestDoctor(t *testing.T) {
	index := folderIndex(t)
	index.publish("1.0.0")
	s := newSandbox(t)
	if out := s.must("doctor"); out != "no problems found\n" {
		t.Errorf("said %q", out)
	}
	s.use(index.url)
	s.must("install", "foo", "--lock")
	if out := s.must("doctor"); out != "no problems found\n" {
		t.Errorf("said %q", out)
	}
	usual := s.env

	open, first := t.TempDir(), t.TempDir()
	must(t, os.Chmod(open, 0o777))
	for _, file := range []string{filepath.Join(open, "harmony-bar"), filepath.Join(first, "harmony-foo")} {
		must(t, os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755))
	}
	foo := filepath.Join(s.bin(), "harmony-foo")
	good, err := os.ReadFile(foo)
	must(t, err)
	lock, err := os.ReadFile(s.lock())
	must(t, err)
	write := func(path, text string) func() {
		return func() { must(t, os.WriteFile(path, []byte(text), 0o755)) }
	}
	remove := func() {
		installed, err := filepath.EvalSymlinks(foo)
		must(t, err)
		must(t, os.RemoveAll(filepath.Join(filepath.Dir(installed), "..", "..")))
	}
	for name, test := range map[string]struct {
		path    string
		spoil   func()
		subject string
		want    []string
	}{
		"current folder":     {".:" + s.bin(), nil, "PATH", []string{"entry 1 of PATH is the current folder"}},
		"writable folder":    {s.bin() + ":" + open, nil, "PATH", []string{open + " is writable by others"}},
		"refused plugin":     {s.bin() + ":" + open, nil, "bar", []string{"harmony-bar is refused: "}},
		"not on PATH":        {"/usr/bin:/bin", nil, "PATH", []string{s.bin() + ", the folder of installed plugins, is missing", "export PATH="}},
		"not found":          {"/usr/bin:/bin", nil, "foo", []string{"harmony-plugins.lock pins 1.0.0, but: no command", "harmony plugin sync"}},
		"shadowed":           {first + ":" + s.bin(), nil, "foo", []string{foo + " never runs: " + first + "/harmony-foo comes first"}},
		"not what is pinned": {first + ":" + s.bin(), nil, "foo", []string{"harmony-foo differs from"}},
		"broken link":        {"", remove, "plugins", []string{"plugin foo is broken"}},
		"changed":            {"", write(foo, string(good)+"# changed\n"), "plugins", []string{"has changed since it was installed"}},
		"newer protocol":     {"", write(foo, strings.Replace(string(good), `{"min":1,"max":1}`, `{"min":7,"max":9}`, 1)), "foo", []string{"speaks protocol 7 to 9, harmony 1 to 1: no version in common"}},
		"mute":               {"", write(foo, "#!/bin/sh\n"), "foo", []string{"did not answer describe with a PluginInfo"}},
		"other platform":     {"", write(s.lock(), strings.ReplaceAll(string(lock), "platform: ", "platform: z")), "foo", []string{"has no hash of plugin foo for"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.env = usual
			if test.path != "" {
				s.env = append(s.env, "PATH="+test.path)
			}
			if test.spoil != nil {
				test.spoil()
			}
			code, out, stderr := s.run("doctor", "-o", "json")
			var findings []doctor.Finding
			if err := json.Unmarshal([]byte(out), &findings); err != nil || code != 1 {
				t.Fatalf("exit status %d, %v: %s%s", code, err, out, stderr)
			}
			if !reports(findings, test.subject, test.want) {
				t.Errorf("no finding of %s with %q: %+v", test.subject, test.want, findings)
			}
			if code, out, _ := s.run("doctor"); code != 1 || !strings.Contains(out, test.want[0]) {
				t.Errorf("exit status %d: %s", code, out)
			}
			s.env = usual
			must(t, os.WriteFile(s.lock(), lock, 0o644))
			s.must("uninstall", "foo")
			s.must("install", "foo")
			s.must("doctor")
		})
	}
}

// reports tells whether a finding of the subject has all the words.
func reports(findings []doctor.Finding, subject string, want []string) bool {
	for _, f := range findings {
		all := f.Subject == subject
		for _, words := range want {
			all = all && strings.Contains(f.Problem+"\n"+f.Advice, words)
		}
		if all {
			return true
		}
	}
	return false
}
