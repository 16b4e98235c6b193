package changes_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nationtech/harmony/internal/build/changes"
	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/internal/chart/pack"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/signals"
)

// The test binary is also harmony-build and harmony-chart: the commands are tested over
// real processes.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"harmony-build": func() {
			stage(plugin.Build("1.2.3", plugin.Adapters[capability.ContainerBuilder]{"auto": daemonless.New(nil), "daemonless": daemonless.New(nil)}), changes.Commands(project.Standard()))
		},
		"harmony-chart": func() {
			stage(plugin.Publish("1.2.3", nil, nil), []command.Option{command.Subcommand(pack.Command())})
		},
	})
}

func stage(s plugin.Stage, options []command.Option) {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	os.Exit(command.Main(ctx, s, project.Standard(), os.Args[1:], options...))
}

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
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": t.TempDir(), "GIT_CONFIG_NOSYSTEM": "1",
		"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
		"GITHUB_BASE_REF": "", "CI_MERGE_REQUEST_DIFF_BASE_SHA": "", "CI_COMMIT_TARGET_BRANCH": "",
		"TMPDIR": t.TempDir(), "GOFLAGS": "-mod=mod", "HARMONY_APP_PLUGIN": "",
	} {
		t.Setenv(name, value)
	}
	r := repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r repository) git(args ...string) string {
	r.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Fatalf("git %s: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repository) write(name, text string) {
	r.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.Fatal(err)
	}
}

func (r repository) commit(message string) string {
	r.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", message)
	return r.git("rev-parse", "HEAD")
}

// run runs a command of harmony-build and returns what it says and its exit status.
func (r repository) run(args ...string) (stdout, stderr string, code int) {
	r.Helper()
	cmd := exec.Command("harmony-build", args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, &out, &errs
	_ = cmd.Run()
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "harmony-changes-*")); len(left) > 0 {
		r.Errorf("%v left %v", args, left)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// affected is what harmony affected prints.
func (r repository) affected(args ...string) string {
	r.Helper()
	out, errs, code := r.run(append([]string{"affected"}, args...)...)
	if code != 0 {
		r.Fatalf("affected %v: exit status %d\n%s", args, code, errs)
	}
	return strings.Join(strings.Fields(out), " ")
}
