package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/plugin/signals"
)

// parentScript, when set, makes the test binary a parent that runs this shell
// script as a child, as a main function of harmony would.
const parentScript = "PARENT_SCRIPT"

func TestMain(m *testing.M) {
	if script := os.Getenv(parentScript); script != "" {
		ctx, stop := signals.Context(context.Background())
		defer stop()
		err := process.Run(ctx, process.Command{Args: []string{"sh", "-c", script}, Grace: time.Minute})
		fmt.Println("ended:", err)
		return
	}
	os.Exit(m.Run())
}

// pids reads the process ids that a script writes, one a line.
func pids(t *testing.T, file string, n int) []int {
	t.Helper()
	var list []int
	eventually(t, fmt.Sprintf("%d process ids in %s", n, file), func() bool {
		text, _ := os.ReadFile(file)
		list = nil
		for line := range strings.Lines(string(text)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && strings.HasSuffix(line, "\n") {
				list = append(list, pid)
			}
		}
		return len(list) == n
	})
	return list
}

// alive reports whether a process runs; one that is dead and that nobody waits
// for does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(state, "Z")
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func gone(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("the end of process %d", pid), func() bool { return !alive(pid) })
	}
}

// Whatever a child does with SIGTERM, a cancelled one ends with all that it
// started.
func TestCancelEndsTheGroup(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		grace  time.Duration
	}{
		"obeys":                  {`sleep 600 & echo $! >>$F; echo $$ >>$F; wait`, time.Minute},
		"ignores SIGTERM":        {`trap "" TERM; sleep 600 & echo $! >>$F; echo $$ >>$F; while :; do wait; done`, 50 * time.Millisecond},
		"only its child ignores": {`(trap "" TERM; sleep 600) & echo $! >>$F; echo $$ >>$F; wait`, 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			ctx, cancel := context.WithCancel(t.Context())
			child, err := process.Start(ctx, process.Command{
				Args: []string{"sh", "-c", test.script}, Env: append(process.Environ(), "F="+file), Stdout: &bytes.Buffer{}, Grace: test.grace,
			})
			if err != nil {
				t.Fatal(err)
			}
			all := pids(t, file, 2)
			began := time.Now()
			cancel()
			if err := child.Wait(); err == nil {
				t.Error("no error")
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			gone(t, all...)
		})
	}
}

// What a child left in the background ends with it, and neither it nor who left
// the group keeps the caller waiting.
func TestOrphansEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	began := time.Now()
	out, err := process.Output(t.Context(), process.Command{
		Args: []string{"sh", "-c", `sleep 600 & echo $! >>$F; setsid sleep 30 & echo answer`}, Env: append(process.Environ(), "F="+file),
	})
	if err != nil || string(out) != "answer\n" {
		t.Errorf("answered %q, %v", out, err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("took %s", took)
	}
	gone(t, pids(t, file, 1)...)
}

// The end of what a child writes is taken also when it comes from a process that
// ends a little later, such as tee.
func TestLastOutputIsTaken(t *testing.T) {
	out, err := process.Output(t.Context(), process.Command{Args: []string{"sh", "-c", `(sleep 0.1; echo late) & echo early`}})
	if err != nil || string(out) != "early\nlate\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

// asParent runs this test binary as the parent of a script that writes its
// process ids.
func asParent(t *testing.T, script string) (cmd *exec.Cmd, children []int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pids")
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parentScript+"="+script, "F="+file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, pids(t, file, 2)
}

func TestSecondSignalEndsTheGroup(t *testing.T) {
	cmd, children := asParent(t, `trap "echo told >>$F" TERM; (trap "" TERM; exec sleep 600) & echo $! >>$F; echo $$ >>$F; while :; do wait; done`)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	file := slices.IndexFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "F=") })
	eventually(t, "the child was told", func() bool {
		text, _ := os.ReadFile(strings.TrimPrefix(cmd.Env[file], "F="))
		return bytes.Contains(text, []byte("told"))
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the parent ended with %v, want SIGTERM", err)
	}
	gone(t, children...)
}

func TestKilledParentLeavesNoChild(t *testing.T) {
	cmd, children := asParent(t, `trap "" TERM; echo $$ >>$F; echo $$ >>$F; exec sleep 600`)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone(t, children...)
}

// 64 MiB without a line end neither grow nor take long.
func TestLinesAreCut(t *testing.T) {
	longest, total := 0, 0
	lines := &process.Lines{Show: func(line string) { longest, total = max(longest, len(line)), total+len(line) }}
	began := time.Now()
	err := process.Run(t.Context(), process.Command{Args: []string{"sh", "-c", `head -c 67108864 /dev/zero >&2`}, Stderr: lines})
	lines.Flush()
	if err != nil || longest != 64<<10 || total != 64<<20 {
		t.Errorf("longest line %d, total %d, %v", longest, total, err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestLinesAreWhole(t *testing.T) {
	var got []string
	lines := &process.Lines{Show: func(line string) { got = append(got, line) }}
	for _, part := range []string{"a", "b\n\nc", "d\ne"} {
		if n, err := lines.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	lines.Flush()
	lines.Flush()
	if want := []string{"ab", "", "cd", "e"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTooMuchOutputEndsTheChild(t *testing.T) {
	out := &process.Buffer{Limit: 1000}
	err := process.Run(t.Context(), process.Command{Args: []string{"sh", "-c", "trap '' PIPE TERM; while :; do echo yes; done"}, Stdout: out})
	if err == nil || !out.Over || !strings.Contains(err.Error(), "more than 1000 bytes") {
		t.Errorf("error %v, over %t", err, out.Over)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	tail := &process.Tail{Limit: 5}
	for _, part := range []string{"one", "two", "three-four", "", "!"} {
		_, _ = io.WriteString(tail, part)
	}
	if got := string(tail.Bytes()); got != "four!" {
		t.Errorf("kept %q", got)
	}
}

// A child that needs no secret gets none; how to reach an agent, and how git is
// configured, stays.
func TestEnvironmentIsScrubbed(t *testing.T) {
	secrets := []string{
		"HARMONY_REGISTRY_USERNAME", "HARMONY_REGISTRY_PASSWORD", "HARMONY_REGISTRY_PASSWORD_FILE", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
		"GITHUB_TOKEN", "PGPASSWORD", "DOCKER_AUTH_CONFIG", "MYSQL_PWD", "db_password", "GOOGLE_APPLICATION_CREDENTIALS",
	}
	plain := []string{"HARMONY_REGISTRY", "SSH_AUTH_SOCK", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0", "GOPRIVATE", "GIT_AUTHOR_NAME", "OLDPWD", "NPM_TOKEN"}
	for _, name := range append(slices.Clone(secrets), plain...) {
		t.Setenv(name, "value")
	}
	t.Setenv("HARMONY_KEEP_ENV", "NPM_TOKEN,OTHER")
	has := func(env []string, name string) bool { return slices.Contains(env, name+"=value") }
	out, err := process.Output(t.Context(), process.Command{Args: []string{"env"}})
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Split(string(out), "\n")
	for _, name := range secrets {
		if has(env, name) {
			t.Errorf("%s reaches the child", name)
		}
		if got, want := has(process.WithoutRegistry(), name), !strings.HasPrefix(name, "HARMONY_"); got != want {
			t.Errorf("without the registry: %s is there: %t", name, got)
		}
	}
	for _, name := range plain {
		if !has(env, name) {
			t.Errorf("%s does not reach the child", name)
		}
	}
}
