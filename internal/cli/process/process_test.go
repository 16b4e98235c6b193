package process_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/cli/process"
)

func TestOutput(t *testing.T) {
	out, err := process.Output(t.Context(), process.Command{
		Args: []string{"sh", "-c", "pwd; echo $GREETING; echo noise >&2"},
		Dir:  "/", Env: []string{"PATH=/usr/bin:/bin", "GREETING=hello"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), "/\nhello\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}

func TestErrorHoldsTheOutput(t *testing.T) {
	for name, script := range map[string]string{
		"stderr":                       "echo ignored; echo reason >&2; exit 7",
		"stdout where stderr is empty": "echo reason; exit 7",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := process.Output(t.Context(), process.Command{Args: []string{"sh", "-c", script}})
			var failure *process.Error
			if !errors.As(err, &failure) {
				t.Fatalf("error %v, want a process.Error", err)
			}
			if got := string(failure.Output); got != "reason\n" {
				t.Errorf("output %q, want reason", got)
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 7 {
				t.Errorf("cause %v, want exit status 7", failure.Err)
			}
			if !strings.HasSuffix(err.Error(), "exit status 7\nreason") {
				t.Errorf("message %q", err)
			}
		})
	}
}

func TestMissingProgram(t *testing.T) {
	_, err := process.Output(t.Context(), process.Command{Args: []string{"no-such-program-here"}})
	if !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("error %v, want exec.ErrNotFound", err)
	}
	if _, err := process.Output(t.Context(), process.Command{}); err == nil {
		t.Error("no command: no error")
	}
}

func TestCancelEndsTheChild(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := process.Output(ctx, process.Command{Args: []string{"sh", "-c", "exec sleep 60"}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}
