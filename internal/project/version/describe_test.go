package version_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/project/version"
	"github.com/nationtech/harmony/pkg/protocol"
)

// repository is a git repository of a test, apart from the user's settings.
type repository struct {
	*testing.T
	dir string
}

func newRepository(t *testing.T) repository {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	for name, value := range map[string]string{
		"HOME": t.TempDir(), "XDG_CONFIG_HOME": t.TempDir(), "GIT_CONFIG_NOSYSTEM": "1",
		"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com",
		"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
	} {
		t.Setenv(name, value)
	}
	r := repository{t, t.TempDir()}
	r.git("init", "-q")
	return r
}

func (r repository) git(args ...string) {
	r.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		r.Fatalf("git %s: %v\n%s", args, err, out)
	}
}

// commit makes n commits that each change the file.
func (r repository) commit(n int) {
	r.Helper()
	for range n {
		r.change()
		r.git("add", "file")
		r.git("commit", "-q", "-m", "change")
	}
}

func (r repository) change() {
	r.Helper()
	f, err := os.OpenFile(filepath.Join(r.dir, "file"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		r.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("line\n"); err != nil {
		r.Fatal(err)
	}
}

func (r repository) write(name, text string) {
	r.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644); err != nil {
		r.Fatal(err)
	}
}

// describes holds the version of the app against a pattern and semver's rules.
func (r repository) describes(app, pattern string) {
	r.Helper()
	got, _, err := describe(context.Background(), r.dir, app)
	if err != nil {
		r.Fatal(err)
	}
	if !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
		r.Errorf("version of %s is %s, want %s", app, got, pattern)
	}
	v, err := semver.StrictNewVersion(got)
	if err != nil {
		r.Errorf("%s: %v", got, err)
		return
	}
	if want := strings.Contains(pattern, "dev"); version.IsDevelopment(*v) != want {
		r.Errorf("IsDevelopment(%s) is not %t", got, want)
	}
}

func describe(ctx context.Context, dir, app string) (described, warning string, err error) {
	all, err := version.Describe(ctx, dir, []string{app})
	if err != nil {
		return "", "", err
	}
	return all[0].Version, all[0].Warning, nil
}

const sha = `g[0-9a-f]{12}`

func TestDescribe(t *testing.T) {
	r := newRepository(t)
	r.describes("fleet", `0\.0\.0-dev`)
	r.commit(2)
	r.describes("fleet", `0\.0\.0-dev\.2\.`+sha)
	r.change()
	r.describes("fleet", `0\.0\.0-dev\.2\.`+sha+`\.dirty`)
	r.commit(1)

	r.git("tag", "fleet-v1.4.0-rc.1+5")
	r.describes("fleet", `1\.4\.0-rc\.1\+5`)
	r.describes("fleet-v2", `0\.0\.0-dev\.3\.`+sha)
	r.commit(3)
	r.describes("fleet", `1\.4\.0-rc\.1\.dev\.3\.`+sha)

	r.git("tag", "-a", "-m", "release", "fleet-v1.4.0")
	r.describes("fleet", `1\.4\.0`)
	r.change()
	r.describes("fleet", `1\.4\.1-dev\.0\.`+sha+`\.dirty`)
	r.commit(2)
	r.describes("fleet", `1\.4\.1-dev\.2\.`+sha)

	// Tags of another app, and such that hold no version, are passed over.
	r.git("tag", "fleet-v2-v3.0.0")
	r.git("tag", "fleet-v7.1")
	r.git("tag", "fleet-v7.broken.x")
	r.describes("fleet", `1\.4\.1-dev\.2\.`+sha)
	r.describes("fleet-v2", `3\.0\.0`)
}

func TestDescribeSortsBetweenReleases(t *testing.T) {
	order := []string{
		"0.0.0-dev", "0.0.0-dev.2.gffffffffffff", "0.0.0-dev.10.g000000000000", "1.4.0-rc.1",
		"1.4.0-rc.1.dev.3.g0123456789ab", "1.4.0-rc.2", "1.4.0",
		"1.4.1-dev.2.g0123456789ab", "1.4.1-dev.2.g0123456789ab.dirty", "1.4.1-rc.1", "1.4.1",
	}
	for i := range len(order) - 1 {
		if a, b := semver.MustParse(order[i]), semver.MustParse(order[i+1]); !a.LessThan(b) {
			t.Errorf("%s does not sort before %s", a, b)
		}
	}
}

func TestDescribeWithoutGit(t *testing.T) {
	t.Run("no repository", func(t *testing.T) {
		repository{t, t.TempDir()}.describes("fleet", `0\.0\.0-dev`)
	})
	t.Run("no git", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		repository{t, t.TempDir()}.describes("fleet", `0\.0\.0-dev`)
	})
}

func TestDescribeTellsTrouble(t *testing.T) {
	t.Run("broken repository", func(t *testing.T) {
		r := newRepository(t)
		r.commit(1)
		if err := os.WriteFile(filepath.Join(r.dir, ".git", "config"), []byte("[core\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, _, err := describe(context.Background(), r.dir, "fleet")
		if err == nil || !strings.Contains(err.Error(), "bad config line") || !strings.Contains(protocol.HintOf(err), "--version") {
			t.Errorf("error %v with hint %q", err, protocol.HintOf(err))
		}
	})
	t.Run("no folder", func(t *testing.T) {
		if v, _, err := describe(context.Background(), filepath.Join(t.TempDir(), "absent"), "fleet"); err == nil {
			t.Errorf("version %s of a folder that does not exist", v)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		r := newRepository(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, _, err := describe(ctx, r.dir, "fleet"); !errors.Is(err, context.Canceled) || protocol.ExitCode(err) != protocol.ExitInterrupted {
			t.Errorf("error %v, exit code %d", err, protocol.ExitCode(err))
		}
	})
}

// A repository that was unpacked from somewhere must not run a program.
func TestDescribeRunsNoProgramOfTheRepository(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "ran")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\ntouch "+mark+"\ncat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, prepare := range map[string]func(repository){
		"fsmonitor": func(r repository) { r.git("config", "core.fsmonitor", program) },
		"clean":     func(r repository) { r.git("config", "filter.x.clean", program) },
		"process":   func(r repository) { r.git("config", "filter.x.process", program) },
		"name with an equals sign": func(r repository) {
			r.git("config", "filter.x.clean", "cat")
			r.git("config", "filter.x=y.clean", program)
			r.write(".gitattributes", "* filter=x=y\n")
		},
		"included": func(r repository) {
			r.write(".git/more", "[filter \"x\"]\n\tclean = "+program+"\n")
			r.git("config", "include.path", "more")
		},
		"required": func(r repository) {
			r.git("config", "filter.x.clean", program)
			r.git("config", "filter.x.required", "true")
		},
		"of the worktree": func(r repository) {
			r.git("config", "extensions.worktreeConfig", "true")
			r.git("config", "--worktree", "filter.x.clean", program)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			r.commit(1)
			r.write(".gitattributes", "* filter=x\n")
			prepare(r)
			r.write("file", "LINE\n") // of the same size: git has to look at the content
			r.describes("fleet", `0\.0\.0-dev\.1\.`+sha+`\.dirty`)
			if _, err := os.Stat(mark); err == nil {
				t.Error("the repository's program was run")
			}
		})
	}
	t.Run("submodule", func(t *testing.T) {
		inner, r := newRepository(t), newRepository(t)
		inner.commit(1)
		r.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.dir, "inner")
		r.commit(1)
		inner.dir = filepath.Join(r.dir, "inner")
		inner.git("config", "filter.x.clean", program)
		inner.write(".gitattributes", "* filter=x\n")
		inner.write("file", "LINE\n")
		r.describes("fleet", `0\.0\.0-dev\.1\.`+sha+`\.dirty`)
		if _, err := os.Stat(mark); err == nil {
			t.Error("the submodule's program was run")
		}
	})
}

// The user's own filters, and those of Git LFS, are no reason to call a file changed.
func TestDescribeKeepsTheUsersFilters(t *testing.T) {
	r := newRepository(t)
	r.git("config", "--global", "filter.x.clean", "tr a-z A-Z")
	r.write(".gitattributes", "file filter=x\n")
	r.commit(1)
	if err := os.Chtimes(filepath.Join(r.dir, "file"), time.Now(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.describes("fleet", `0\.0\.0-dev\.1\.`+sha)
}

// GitHub's release page makes lightweight tags; git describe prefers others.
func TestDescribeTakesTheHighestTagOfACommit(t *testing.T) {
	r := newRepository(t)
	r.commit(1)
	r.git("tag", "-a", "-m", "x", "fleet-v1.3.0-rc.1")
	r.git("tag", "fleet-v1.3.0")
	r.git("tag", "fleet-v1.2.9")
	r.git("tag", "fleet-v9")
	r.describes("fleet", `1\.3\.0`)
	r.commit(1)
	r.describes("fleet", `1\.3\.1-dev\.1\.`+sha)
}

func TestDescribeWarnsOfAShallowClone(t *testing.T) {
	r := newRepository(t)
	r.commit(1)
	r.git("tag", "fleet-v1.2.3")
	r.commit(1)
	clone := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "-q", "--depth", "1", "file://"+r.dir, clone)
	_, warning, err := describe(t.Context(), clone, "fleet")
	if err != nil || !strings.Contains(warning, "shallow") || !strings.Contains(warning, "fetch-depth: 0") {
		t.Errorf("warning %q, %v", warning, err)
	}
	if _, warning, err = describe(t.Context(), r.dir, "fleet"); err != nil || warning != "" {
		t.Errorf("warning %q of a whole clone, %v", warning, err)
	}
}

// In a hook git sets variables that mean the repository of the hook.
func TestDescribeInAHook(t *testing.T) {
	r := newRepository(t)
	r.commit(1)
	r.git("tag", "fleet-v1.2.3")
	t.Setenv("GIT_DIR", ".git")
	t.Setenv("GIT_INDEX_FILE", ".git/index")
	sub := filepath.Join(r.dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, _, err := describe(t.Context(), sub, "fleet"); err != nil || got != "1.2.3" {
		t.Errorf("version %s, %v", got, err)
	}
}
