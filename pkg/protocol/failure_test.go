package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, protocol.ExitOK},
		{"plain", io.EOF, protocol.ExitFailed},
		{"invalid", protocol.Invalid("x"), protocol.ExitInvalid},
		{"wrapped", fmt.Errorf("a: %w", protocol.Unsupported("x")), protocol.ExitUnsupported},
		{"joined", errors.Join(io.EOF, protocol.Retryable("x")), protocol.ExitRetryable},
		{"the outermost holds", &protocol.Error{Code: protocol.ExitSmoke, Err: protocol.Retryable("x")}, protocol.ExitSmoke},
		{"the outermost with a code", &protocol.Error{Hint: "h", Err: protocol.Retryable("x")}, protocol.ExitRetryable},
		{"no code at all", &protocol.Error{Message: "x"}, protocol.ExitFailed},
		{"cancelled", fmt.Errorf("a: %w", context.Canceled), protocol.ExitInterrupted},
		{"cancelled below an error without a code", &protocol.Error{Hint: "h", Err: context.Canceled}, protocol.ExitInterrupted},
		{"deadline", context.DeadlineExceeded, protocol.ExitFailed},
	} {
		if got := protocol.ExitCode(test.err); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	cause := errors.New("cause")
	for want, err := range map[string]*protocol.Error{
		"message":        {Message: "message"},
		"cause":          {Err: cause},
		"message: cause": {Message: "message", Err: cause},
		"read a: EOF":    protocol.Invalid("read %s: %w", "a", io.EOF),
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
	if err := protocol.Retryable("x: %w", cause); !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
}

func TestHint(t *testing.T) {
	plain := protocol.Invalid("x")
	hinted := plain.WithHint("try %d", 7)
	if plain.Hint != "" || protocol.HintOf(hinted) != "try 7" {
		t.Errorf("%q, %q", plain.Hint, hinted.Hint)
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{io.EOF, ""},
		{plain, ""},
		{fmt.Errorf("a: %w", hinted), "try 7"},
		{&protocol.Error{Code: 1, Err: fmt.Errorf("a: %w", hinted)}, "try 7"},
		{&protocol.Error{Hint: "first", Err: hinted}, "first"},
	} {
		if got := protocol.HintOf(test.err); got != test.want {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}
}

func TestFailureOf(t *testing.T) {
	id := protocol.Metadata{Name: "a", Version: "1.0.0"}
	f := protocol.FailureOf(id, "deploy", "staging", protocol.Retryable("no answer").WithHint("try again"))
	want := protocol.Failure{Metadata: id, Stage: "deploy", Target: "staging", Code: 4, Message: "no answer", Hint: "try again", Retryable: true}
	if f != want {
		t.Errorf("%+v, want %+v", f, want)
	}
	if err := f.Err(); protocol.ExitCode(err) != 4 || err.Error() != "no answer" || protocol.HintOf(err) != "try again" {
		t.Errorf("as an error: %v", err)
	}
}

func TestWorstCode(t *testing.T) {
	for _, test := range []struct {
		codes []int
		want  int
	}{
		{nil, 0},
		{[]int{0, 0}, 0},
		{[]int{0, 4, 0}, 4},
		{[]int{4, 5}, 5},
		{[]int{5, 1}, 1},
		{[]int{1, 3}, 3},
		{[]int{3, 2}, 2},
		{[]int{2, 130, 1}, 130},
		{[]int{137, 4}, 137},
		{[]int{3, 137}, 3},
	} {
		if got := protocol.WorstCode(test.codes...); got != test.want {
			t.Errorf("%v: %d, want %d", test.codes, got, test.want)
		}
	}
}
