package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/plugins/store"
)

// kills is how many installs are killed.
const kills = 20

// An install that is killed leaves the plugin before or the new one, whole; and
// the next one ends as if nothing had happened.
func TestKilledInstall(t *testing.T) {
	index := folderIndex(t)
	s := newSandbox(t)
	publish := func(version string) {
		// Many files make it last, so that every part of it is met.
		files := pluginFiles(version)
		for i := range 40 {
			files[fmt.Sprintf("share/%d", i)] = strings.Repeat(version, 2000)
		}
		data := tarGz(t, files)
		path := filepath.Join(index.url, "foo-"+version)
		must(t, os.WriteFile(path, data, 0o644))
		must(t, os.WriteFile(filepath.Join(index.url, "foo.yaml"), manifestOf("foo", version, "file://"+path, data), 0o644))
	}
	publish("1.0.0")
	s.use(index.url)
	began := time.Now()
	s.must("install", "foo")
	lasts := time.Since(began)
	old := "1.0.0"
	store := store.Store{Folder: filepath.Dir(s.bin())}
	seen := map[bool]int{}
	for i := range kills {
		version := fmt.Sprintf("1.%d.0", i+1)
		publish(version)
		cmd := s.command(t.Context(), "install", "foo")
		must(t, cmd.Start())
		// A part of each: the first kills come early, the last when it is over.
		after := lasts*time.Duration(i)/(kills-4) + rand.N(lasts/kills)
		time.Sleep(after)
		cmd.Process.Kill() // it may be over
		cmd.Wait()
		want := map[string]bool{said(old): true, said(version): true}
		got := s.says("foo")
		if !want[got] {
			t.Fatalf("killed after %s: runs %q, want %s or %s", after, got, old, version)
		}
		seen[got == said(version)]++
		if _, broken, err := store.All(); len(broken) > 0 || err != nil {
			t.Fatalf("killed after %s: %v, %v", after, broken, err)
		}
		if i%2 == 0 {
			s.must("install", "foo")
			if got := s.says("foo"); got != said(version) {
				t.Fatalf("runs %q after the next install of %s", got, version)
			}
		}
		old = strings.Fields(s.says("foo"))[1]
	}
	s.must("install", "foo")
	left, err := filepath.Glob(filepath.Join(s.home, ".local/share/harmony/*/.new-*"))
	deeper, err2 := filepath.Glob(filepath.Join(s.home, ".local/share/harmony/plugins/*/*"))
	if err != nil || err2 != nil || len(left) > 0 || len(deeper) > 2 {
		t.Errorf("left %v and %v", left, deeper)
	}
	t.Logf("an install lasts %s; %d were killed before the new plugin was there, %d after", lasts, seen[false], seen[true])
	if seen[false] == 0 {
		t.Error("no install was killed in time: this test looks at nothing")
	}
}

func said(version string) string { return "foo " + version + " data of " + version }
