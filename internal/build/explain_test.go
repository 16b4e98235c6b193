package build_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestExplain(t *testing.T) {
	app, s, b := demo(t), newStage(t), &builds{options: map[string]string{"provenance": "none"}}
	s.flags.Explain = true
	explained := func() []string {
		t.Helper()
		if _, err := s.build(t.Context(), b.adapter(&s.flags), app); err != nil {
			t.Fatal(err)
		}
		return s.said("explain")
	}
	want := func(want ...string) {
		t.Helper()
		if got := explained(); !slices.Equal(got, want) {
			t.Errorf("explained\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	want("built for the first time on this machine")
	want("built again although nothing changed: its image is no longer there")

	write(t, app.ProjectRoot, map[string]string{"a": "B", "d/new\u00e9": "N"})
	if err := os.Remove(filepath.Join(app.ProjectRoot, "d/link")); err != nil {
		t.Fatal(err)
	}
	want("file a changed", "file d/newé was added", "file d/link was removed")

	app.Image.Dockerfile.Args = map[string]string{"WHO": "one"}
	want("argument WHO was added")
	app.Image.Dockerfile.Args = map[string]string{"WHO": "two"}
	app.Image.Platforms = []string{"linux/arm64"}
	b.options["provenance"] = "max"
	want("setting platforms changed from linux/amd64 to linux/arm64", "setting option provenance changed from none to max", "argument WHO changed")

	write(t, app.ProjectRoot, map[string]string{"Dockerfile": "FROM scratch\nCOPY . /\n"})
	want("Dockerfile changed", "file Dockerfile changed")

	for i := range 30 {
		write(t, app.ProjectRoot, map[string]string{fmt.Sprintf("many/%02d", i): "x"})
	}
	if got := explained(); len(got) != 21 || got[0] != "file many was added" || got[20] != "and 11 more changes" {
		t.Errorf("explained %q", got)
	}
	s.flags.NoCache = true
	want("built because of --no-cache")
	s.flags.NoCache = false

	if err := os.WriteFile(filepath.Join(s.env.Cache, "demo/inputs/last.items"), []byte("half a li"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := explained(); len(got) != 1 || !strings.HasPrefix(got[0], "built; what the last image was made from is not known: ") {
		t.Errorf("explained %q", got)
	}
	s.flags.Explain = false
	want()
}

func TestExplainFound(t *testing.T) {
	app, s := demo(t), newStage(t)
	s.flags.Explain = true
	made := s.daemonless(t, app)
	if ref := s.daemonless(t, app); !ref.Unchanged {
		t.Errorf("%+v", ref)
	}
	if got := s.said("explain"); !slices.Equal(got, []string{"not built: nothing changed since " + made.Digest + " was made here"}) {
		t.Errorf("explained %q", got)
	}
	// A dry run tells it too, and keeps nothing.
	write(t, app.ProjectRoot, map[string]string{"a": "B"})
	s.env.DryRun = true
	for range 2 {
		if ref := s.daemonless(t, app); ref.Unchanged || !ref.Planned {
			t.Errorf("%+v", ref)
		}
		if got := s.said("explain"); !slices.Equal(got, []string{"file a changed"}) {
			t.Errorf("explained %q", got)
		}
	}
}

func TestNoCacheBuildsAgain(t *testing.T) {
	app, s := demo(t), newStage(t)
	first := s.daemonless(t, app)
	s.flags.NoCache = true
	if ref := s.daemonless(t, app); ref.Unchanged || ref.Digest != first.Digest || ref.Location != protocol.InLayout {
		t.Errorf("%+v", ref)
	}
}
