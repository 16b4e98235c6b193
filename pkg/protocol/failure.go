package protocol

import (
	"context"
	"errors"
	"fmt"
)

// The exit statuses of every command and stage.
const (
	ExitOK          = 0   // done, or nothing to do
	ExitFailed      = 1   // failed
	ExitInvalid     = 2   // bad usage or invalid input; nothing was started
	ExitUnsupported = 3   // the topology or a plugin lacks what was asked for; nothing was started
	ExitRetryable   = 4   // failed for a passing reason, after the retries: safe to run again
	ExitSmoke       = 5   // a smoke check failed
	ExitInterrupted = 130 // SIGINT or SIGTERM
)

// Failure is written by a stage that could not do its work for an app. Later
// stages forward it, do no work for that app, and exit with its code. A Failure
// without metadata.name is one of the whole stage.
type Failure struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Stage is the name of the stage that failed: build, publish, deploy, smoke.
	Stage string `json:"stage"`
	// Target is the target of a deploy or smoke stage.
	Target string `json:"target,omitempty"`
	// Code is the exit status, one of the Exit constants. One outside 1 to 255
	// counts as ExitFailed.
	Code int `json:"code"`
	// Message says what is wrong and where.
	Message string `json:"message"`
	// Hint says what to do about it.
	Hint string `json:"hint,omitempty"`
	// Retryable is true when the same command may well succeed later.
	Retryable bool `json:"retryable,omitempty"`
}

// DocumentKind implements [Spec].
func (Failure) DocumentKind() Kind { return KindFailure }

// Err is the failure as an error with the same code, message and hint.
func (f Failure) Err() error {
	return &Error{Code: f.Code, Message: f.Message, Hint: f.Hint}
}

// FailureOf is the failure document that tells err.
func FailureOf(id Metadata, stage, target string, err error) Failure {
	f := Failure{Metadata: id, Stage: stage, Target: target, Code: ExitCode(err), Message: err.Error(), Hint: HintOf(err)}
	f.Retryable = f.Code == ExitRetryable
	return f
}

// Error is an error with an exit status and advice. Adapters return it where
// the status is not simply [ExitFailed].
type Error struct {
	// Code is one of the Exit constants.
	Code int
	// Message says what is wrong and where. When Err is set it may be empty.
	Message string
	// Hint says what to do about it; it may be empty.
	Hint string
	// Err is the cause, if any; it is printed after the message.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Message
	case e.Message == "":
		return e.Err.Error()
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Invalid is an error of status [ExitInvalid]. The format is that of
// fmt.Errorf, %w included.
func Invalid(format string, args ...any) *Error {
	return &Error{Code: ExitInvalid, Err: fmt.Errorf(format, args...)}
}

// Unsupported is an error of status [ExitUnsupported].
func Unsupported(format string, args ...any) *Error {
	return &Error{Code: ExitUnsupported, Err: fmt.Errorf(format, args...)}
}

// Retryable is an error of status [ExitRetryable].
func Retryable(format string, args ...any) *Error {
	return &Error{Code: ExitRetryable, Err: fmt.Errorf(format, args...)}
}

// WithHint returns the same error with advice.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// ExitCode is the exit status that tells err: that of the outermost [Error] in
// its tree that has one, [ExitInterrupted] for a cancelled context, else
// [ExitFailed].
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	var e *Error
	for rest := err; errors.As(rest, &e); rest = e.Err {
		if e.Code != ExitOK {
			return exitStatus(e.Code)
		}
	}
	if errors.Is(err, context.Canceled) {
		return ExitInterrupted
	}
	return ExitFailed
}

// exitStatus is a code that a process can end with: one outside 1 to 255, of which
// the system would keep the low byte, counts as [ExitFailed].
func exitStatus(code int) int {
	if code < 1 || code > 255 {
		return ExitFailed
	}
	return code
}

// HintOf is the first hint in the tree of err, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// WorstCode is the status of a run in which several apps ended with these
// statuses. An interruption comes first, then what no second run can mend;
// [ExitRetryable] only stands when nothing worse happened.
func WorstCode(codes ...int) int {
	rank := map[int]int{ExitOK: 0, ExitRetryable: 1, ExitSmoke: 2, ExitUnsupported: 4, ExitInvalid: 5, ExitInterrupted: 6}
	worst, worstRank := ExitOK, 0
	for _, code := range codes {
		if code != ExitOK {
			code = exitStatus(code)
		}
		r, known := rank[code]
		if !known {
			r = 3
		}
		if r > worstRank {
			worst, worstRank = code, r
		}
	}
	return worst
}
