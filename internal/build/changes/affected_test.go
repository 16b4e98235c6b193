package changes_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/build/changes"
	"github.com/nationtech/harmony/pkg/protocol"
)

// small is a project with two apps, which copy the folders a and b. Its tags are empty,
// where there was no project, broken, where its harmony.yaml was not valid, and since.
func small(t *testing.T) repository {
	t.Helper()
	r := newRepository(t)
	r.commit("nothing")
	r.git("tag", "empty")
	r.write("harmony.yaml", "kind: AppSpek\n")
	r.commit("broken")
	r.git("tag", "broken")
	r.write("harmony.yaml", appSpec("a", "")+appSpec("b", ""))
	for _, app := range []string{"a", "b"} {
		r.write(app+"/file", app)
		r.write(app+".Dockerfile", "FROM scratch\nCOPY "+app+" /\n")
	}
	r.commit("feat: both")
	r.git("tag", "since")
	return r
}

// copied is a copy of a repository.
func (r repository) copied(t *testing.T) repository {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-a", r.dir+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return repository{t, dir}
}

func appSpec(name, more string) string {
	return "---\napiVersion: harmony.nationtech.io/v1\nkind: AppSpec\nmetadata: {name: " + name + "}\nspec:\n" +
		"  image: {dockerfile: {path: " + name + ".Dockerfile, context: .}}\n  chart: {workload: {ports: [{name: http, port: 8080}]}}\n" + more
}

// furtherImage gives the app a a second image, of the folder c, and commits that.
func furtherImage(r repository) {
	r.write("harmony.yaml", strings.NewReplacer("workload: {ports: [{name: http, port: 8080}]}", "path: a").Replace(appSpec("a", "  images: {c: {dockerfile: {path: c.Dockerfile}}}\n"))+appSpec("b", ""))
	r.write("a/Chart.yaml", "apiVersion: v2\nname: a\nversion: 0.0.0\n")
	r.write("c.Dockerfile", "FROM scratch\nCOPY c /\n")
	r.write("c/file", "c")
	r.commit("x")
	r.git("tag", "-f", "since")
}

func TestAffected(t *testing.T) {
	project := small(t)
	for _, test := range []struct {
		name   string
		change func(repository)
		args   string
		want   string
	}{
		{"nothing", func(repository) {}, "", ""},
		{"a commit", func(r repository) { r.write("a/file", "A"); r.commit("x") }, "", "a"},
		{"one of the apps", func(r repository) { r.write("a/file", "A"); r.write("b/file", "B"); r.commit("x") }, "b", "b"},
		{"not committed", func(r repository) { r.write("a/file", "A") }, "", "a"},
		{"staged", func(r repository) { r.write("a/file", "A"); r.git("add", "-A") }, "", "a"},
		{"a new file", func(r repository) { r.write("b/new", "") }, "", "b"},
		{"an ignored file", func(r repository) { r.write(".gitignore", "*.log\n"); r.write("b/x.log", "") }, "", ""},
		{"a copied file that git ignores", func(r repository) {
			r.write(".gitignore", "b.bin\n")
			r.write("b.bin", "")
			r.write("b.Dockerfile", "FROM scratch\nCOPY b.bin /\n")
			r.commit("x")
			r.git("tag", "-f", "since")
			r.write("other", "")
		}, "", "b"},
		{"a file that was removed", func(r repository) { _ = os.Remove(filepath.Join(r.dir, "a/file")) }, "", "a"},
		{"a file that is a folder now", func(r repository) { _ = os.Remove(filepath.Join(r.dir, "a/file")); r.write("a/file/x", "") }, "", "a"},
		{"moved from one to the other", func(r repository) { r.git("mv", "a/file", "b/other"); r.commit("x") }, "", "a b"},
		{"moved and back", func(r repository) {
			r.git("mv", "a/file", "c")
			r.commit("x")
			r.git("mv", "c", "a/file")
			r.commit("y")
		}, "", ""},
		{"the AppSpec", func(r repository) { r.write("harmony.yaml", appSpec("a", "  dependsOn: [b]\n")+appSpec("b", "")) }, "", "a"},
		{"a comment in harmony.yaml", func(r repository) { r.write("harmony.yaml", "# x\n"+appSpec("a", "")+appSpec("b", "")) }, "", ""},
		{"a dependency", func(r repository) {
			r.write("harmony.yaml", appSpec("a", "  dependsOn: [b]\n")+appSpec("b", ""))
			r.commit("x")
			r.git("tag", "-f", "since")
			r.write("b/file", "B")
		}, "", "b"},
		{"a further image", func(r repository) { furtherImage(r); r.write("c/file", "C") }, "", "a"},
		{"what no further image copies", func(r repository) { furtherImage(r); r.write("d/file", "D") }, "", ""},
		{"a new app", func(r repository) {
			r.write("harmony.yaml", appSpec("a", "")+appSpec("b", "")+appSpec("c", ""))
			r.write("c.Dockerfile", "FROM scratch\n")
		}, "", "c"},
		{"it was no project", func(r repository) { r.git("tag", "-f", "since", "empty") }, "", "a b"},
		{"it was broken", func(r repository) { r.git("tag", "-f", "since", "broken") }, "", "a b"},
		{"inputs that cannot be read", func(r repository) { r.write("a.Dockerfile", "FROM scratch\nNONSENSE\n") }, "", "a"},
		{"a detached head", func(r repository) { r.write("a/file", "A"); r.commit("x"); r.git("checkout", "-q", "--detach") }, "", "a"},
		{"a branch, and what others did to main", func(r repository) {
			r.git("checkout", "-q", "-b", "mine")
			r.write("a/file", "A")
			r.commit("x")
			r.git("checkout", "-q", "main")
			r.write("b/file", "B")
			r.commit("y")
			r.git("tag", "-f", "since")
			r.git("checkout", "-q", "mine")
		}, "", "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := project.copied(t)
			test.change(r)
			if got := r.affected(append([]string{"--since", "since"}, strings.Fields(test.args)...)...); got != test.want {
				t.Errorf("affected are [%s], want [%s]", got, test.want)
			}
		})
	}
}

// Without --since it is the target of a pull request, else the last release of each app.
func TestAffectedSinceWhen(t *testing.T) {
	r := small(t)
	if got := r.affected(); got != "a b" {
		t.Errorf("never released: affected are [%s]", got)
	}
	r.git("tag", "a-v1.0.0")
	r.write("b/file", "B")
	r.commit("x")
	r.git("tag", "b-v2.0.0")
	if got := r.affected(); got != "" {
		t.Errorf("released: affected are [%s]", got)
	}
	r.write("a/file", "A")
	r.commit("y")
	r.git("update-ref", "refs/remotes/origin/main", "HEAD")
	r.write("b/file", "C")
	out, _, _ := r.run("affected", "-o", "json")
	var found []changes.Affected
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) != 2 || found[0].Release != "1.0.0" || found[1].Release != "2.0.0" ||
		len(found[0].Reasons) != 1 || found[0].Reasons[0] != "file a/file changed" {
		t.Errorf("affected are %s", out)
	}
	for name, value := range map[string]string{"GITHUB_BASE_REF": "main", "CI_COMMIT_TARGET_BRANCH": "main", "CI_MERGE_REQUEST_DIFF_BASE_SHA": r.git("rev-parse", "HEAD")} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if got := (repository{t, r.dir}).affected(); got != "b" {
				t.Errorf("affected are [%s]", got)
			}
		})
	}
}

func TestAffectedMatrix(t *testing.T) {
	r := small(t)
	if got := r.affected("-o", "matrix"); got != `{"include":[{"app":"a"},{"app":"b"}]}` {
		t.Errorf("matrix %s", got)
	}
	if got := r.affected("-o", "matrix", "--since", "HEAD"); got != `{"include":[]}` {
		t.Errorf("matrix %s", got)
	}
}

func TestAffectedRefuses(t *testing.T) {
	r := small(t)
	r.write("a/file", "A")
	r.commit("x")
	shallow := repository{t, filepath.Join(t.TempDir(), "clone")}
	r.git("clone", "-q", "--depth", "1", "file://"+r.dir, shallow.dir)
	bare := repository{t, t.TempDir()}
	bare.write("harmony.yaml", appSpec("a", ""))
	for _, test := range []struct {
		name string
		in   repository
		args []string
		want []string
	}{
		{"an unknown commit", r, []string{"--since", "v9"}, []string{`no commit "v9"`, "git fetch"}},
		{"a flag as a commit", r, []string{"--since", "--all"}, []string{`"--all" is not a commit`}},
		{"an unknown app", r, []string{"c"}, []string{`no app "c"`}},
		{"an output", r, []string{"-o", "yaml"}, []string{`"yaml" is not one of names, json, matrix`}},
		{"no repository", bare, nil, []string{"is in no git repository"}},
		{"a shallow clone", shallow, nil, []string{"shallow", "fetch-depth: 0", "--since"}},
		{"a commit that a shallow clone lacks", shallow, []string{"--since", r.git("rev-parse", "HEAD~")}, []string{"shallow", "fetch-depth: 0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, errs, code := test.in.run(append([]string{"affected"}, test.args...)...)
			if code != protocol.ExitInvalid || out != "" {
				t.Errorf("exit status %d, stdout %q", code, out)
			}
			for _, want := range test.want {
				if !strings.Contains(errs, want) {
					t.Errorf("stderr %q lacks %q", errs, want)
				}
			}
		})
	}
	t.Run("an app plugin", func(t *testing.T) {
		t.Setenv("HARMONY_APP_PLUGIN", "fleet")
		if _, errs, code := r.run("affected"); code != protocol.ExitUnsupported || !strings.Contains(errs, "HARMONY_APP_PLUGIN") {
			t.Errorf("exit status %d, %s", code, errs)
		}
	})
}

// A submodule counts like a folder, at the commit that it was at.
func TestAffectedSubmodule(t *testing.T) {
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
	t.Setenv("GIT_CONFIG_VALUE_0", "always")
	inner := newRepository(t)
	inner.write("file", "1")
	inner.commit("1")
	r := small(t)
	r.git("submodule", "--quiet", "add", inner.dir, "a/inner")
	r.commit("submodule")
	if got := r.affected("--since", "HEAD~"); got != "a" {
		t.Errorf("added: affected are [%s]", got)
	}
	sub := repository{t, filepath.Join(r.dir, "a/inner")}
	sub.write("file", "2")
	if got := r.affected("--since", "HEAD"); got != "a" {
		t.Errorf("edited: affected are [%s]", got)
	}
	sub.commit("2")
	r.commit("moved")
	if got := r.affected("--since", "HEAD~"); got != "a" {
		t.Errorf("moved: affected are [%s]", got)
	}
	r.write("b/file", "B")
	if got := r.affected("--since", "HEAD"); got != "b" {
		t.Errorf("nothing in it: affected are [%s]", got)
	}
	clone := repository{t, filepath.Join(t.TempDir(), "clone")}
	r.git("clone", "-q", r.dir, clone.dir)
	_, errs, code := clone.run("affected", "--since", "HEAD~")
	if code != 0 || !strings.Contains(errs, "submodule a/inner is not checked out") {
		t.Errorf("not checked out: exit status %d, %s", code, errs)
	}
}

// What it does leaves no trace in the repository, also when it is interrupted.
func TestAffectedLeavesNothing(t *testing.T) {
	r := small(t)
	r.write("a/file", "A")
	before := r.git("status", "--porcelain") + r.git("count-objects") + r.git("worktree", "list")
	slow := t.TempDir()
	// A chart that takes long to list.
	if err := os.WriteFile(filepath.Join(slow, "harmony-chart"), []byte("#!/bin/sh\ntouch '"+slow+"/began'\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("harmony-build", "affected", "--since", "HEAD~")
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), "PATH="+slow+":"+os.Getenv("PATH"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(slow, "began")); err == nil {
			break
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != protocol.ExitInterrupted {
		t.Errorf("exit status %d", code)
	}
	r.affected("--since", "HEAD~") // looks for what is left
	if after := r.git("status", "--porcelain") + r.git("count-objects") + r.git("worktree", "list"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
