package changes_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/build/changes"
	"github.com/nationtech/harmony/pkg/protocol"
)

// released is a project with releases 1.0.0, 1.1.0-rc.1 and 1.1.0 of a, and commits to come.
func released(t *testing.T) repository {
	t.Helper()
	r := small(t)
	r.git("tag", "a-v1.0.0")
	r.write("a/file", "1")
	r.commit("feat(api)!: gone\n\nReviewed-by: x\n")
	r.write("b/file", "1")
	r.commit("feat: of b")
	r.write("a/new", "1")
	r.commit("feat: new file")
	r.git("tag", "a-v1.1.0-rc.1")
	r.git("mv", "a/new", "a/renamed")
	r.commit("fix: rename")
	r.write("harmony.yaml", appSpec("a", "")+appSpec("b", "  dependsOn: [a]\n"))
	r.commit("the AppSpec of b")
	r.write("harmony.yaml", appSpec("a", "  smoke: [{name: up, rollout: {}}]\n")+appSpec("b", "  dependsOn: [a]\n"))
	r.commit("the AppSpec of a")
	r.git("checkout", "-q", "-b", "side")
	r.write("a/side", "1")
	r.commit("on a branch")
	r.git("checkout", "-q", "main")
	r.git("merge", "-q", "--no-ff", "-m", "the merge", "side")
	r.git("tag", "-a", "-m", "x", "a-v1.1.0")
	r.write("a/file", "2")
	r.commit("fix: later")
	return r
}

func TestChangelog(t *testing.T) {
	r := released(t)
	for _, test := range []struct{ args, title, commits string }{
		{"", "- since 1.1.0", "fixes later"},
		{"--until 1.1.0", "1.1.0 since 1.0.0", "other on a branch; other the AppSpec of a; fixes rename; features new file; breaking gone"},
		{"--until 1.1.0-rc.1", "1.1.0-rc.1 since 1.0.0", "features new file; breaking gone"},
		{"--until 1.1.0 --since v1.1.0-rc.1", "1.1.0 since 1.1.0-rc.1", "other on a branch; other the AppSpec of a; fixes rename"},
		{"--until a-v1.0.0", "1.0.0 since -", "other feat: both"},
	} {
		t.Run(test.args, func(t *testing.T) {
			r := repository{t, r.dir}
			out, errs, code := r.run(append([]string{"changelog", "a", "-o", "json"}, strings.Fields(test.args)...)...)
			var log changes.Changelog
			if err := json.Unmarshal([]byte(out), &log); err != nil || code != 0 {
				t.Fatalf("exit status %d, %v\n%s", code, err, errs)
			}
			var commits []string
			for _, c := range log.Commits {
				commits = append(commits, c.Group+" "+c.Text)
			}
			// The first commit made everything.
			got := strings.ReplaceAll(strings.Join(commits, "; "), "features both", "other feat: both")
			if title := or(log.Until) + " since " + or(log.Since); title != test.title || got != test.commits {
				t.Errorf("%s: %s\nwant %s: %s", title, got, test.title, test.commits)
			}
		})
	}
	t.Run("on the release", func(t *testing.T) {
		r := repository{t, r.dir}
		r.git("checkout", "-q", "a-v1.1.0-rc.1")
		out, _, _ := r.run("changelog", "a")
		want := "# a 1.1.0-rc.1, since 1.0.0\n\n## Breaking changes\n\n- **api:** gone (" + r.git("rev-parse", "--short=12", "HEAD~2") +
			")\n\n## Features\n\n- new file (" + r.git("rev-parse", "--short=12", "HEAD") + ")\n"
		if out != want {
			t.Errorf("changelog\n%s\nwant\n%s", out, want)
		}
		r.git("checkout", "-q", "main")
	})
}

func or(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func TestChangelogRefuses(t *testing.T) {
	r := released(t)
	for _, test := range []struct {
		args string
		want []string
	}{
		{"a --since 9.9.9", []string{"a has no release 9.9.9", "the last ones are 1.1.0, 1.1.0-rc.1, 1.0.0"}},
		{"a --since latest", []string{`"latest" is not a version of a`}},
		{"b --since 1.0.0", []string{"no release at all", "git fetch --tags"}},
		{"* ", []string{`"*" names 2 apps`}},
		{"c", []string{`no app "c"`}},
		{"a -o html", []string{"is not one of md, json"}},
	} {
		out, errs, code := r.run(append([]string{"changelog"}, strings.Fields(test.args)...)...)
		if code != protocol.ExitInvalid || out != "" {
			t.Errorf("%s: exit status %d, stdout %q", test.args, code, out)
		}
		for _, want := range test.want {
			if !strings.Contains(errs, want) {
				t.Errorf("%s: stderr %q lacks %q", test.args, errs, want)
			}
		}
	}
	shallow := repository{t, t.TempDir() + "/clone"}
	r.git("clone", "-q", "--depth", "1", "file://"+r.dir, shallow.dir)
	if _, errs, code := shallow.run("changelog", "a"); code != protocol.ExitInvalid || !strings.Contains(errs, "fetch-depth: 0") {
		t.Errorf("a shallow clone: exit status %d, %s", code, errs)
	}
}

// What somebody writes into a commit neither moves the cursor, nor makes a heading or a
// link, nor mentions anybody.
func TestChangelogOfHostileCommits(t *testing.T) {
	r := small(t)
	r.git("tag", "a-v1.0.0")
	r.write("a/file", "1")
	r.commit("fix(<b>): [click](https://example.com) \x1b[2J @somebody `x` ::error::no")
	out, _, _ := r.run("changelog", "a")
	want := `- **\<b\>:** \[click\](https://example.com) \[2J @<!-- -->somebody \` + "`x\\`" + ` ::error::no (`
	if !strings.Contains(out, want) || strings.Contains(out, "\x1b") {
		t.Errorf("changelog %q, want %q", out, want)
	}
}

// The commits of a version whose inputs cannot be read any more are still told.
func TestChangelogSinceABrokenVersion(t *testing.T) {
	r := small(t)
	good, err := os.ReadFile(r.dir + "/a.Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	r.write("a.Dockerfile", "FROM scratch\nNONSENSE\n")
	r.commit("broken")
	r.git("tag", "a-v1.0.0")
	r.write("a.Dockerfile", string(good))
	r.commit("mended")
	out, errs, code := r.run("changelog", "a")
	if code != 0 || !strings.Contains(out, "- mended") || !strings.Contains(errs, "commits may be missing") {
		t.Errorf("exit status %d, %s%s", code, out, errs)
	}
}
