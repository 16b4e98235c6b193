// Package conformance checks that a stage plugin keeps the contract of harmony's
// plugins. It starts the plugin as a process, so that it may be written in any
// language, and gives it nothing that it could change: an empty folder, a home
// of its own, no kube context, and apps that have failed already or that no
// topology can serve.
package conformance

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Result is the outcome of one check.
type Result struct {
	// Check is its short name, such as exit-status; Rule says what must hold.
	Check string `json:"check"`
	Rule  string `json:"rule"`
	// Passed is true when it does.
	Passed bool `json:"passed"`
	// Detail says what was seen instead, or is empty.
	Detail string `json:"detail,omitempty"`
}

// check is one rule of the contract. It returns what breaks the rule.
type check struct {
	name, rule string
	run        func(context.Context, *subject) error
}

func checks() []check {
	return []check{
		{"describe", "describe prints one PluginInfo: its name, a protocol in common, the stage or apps that it offers", describe},
		{"pass-through", "every document read is written again, byte for byte, in order: known and unknown kinds, unknown fields", passThrough},
		{"failed-app", "no work is done for an app that has failed before", failedApp},
		{"exit-status", "the exit status is that of the Failure read: 1, 2, 3, 4 and 5; a code outside 1 to 255 counts as 1", exitStatus},
		{"own-failure", "a failure of its own is a Failure document with the exit status as its code", ownFailure},
		{"no-input", "an empty stream is not a success", noInput},
		{"garbage", "input that is no document ends with status 2, a Failure and a message", garbage},
		{"oversized", "a document of over 1 MiB ends with status 2", oversized},
		{"large", "a document of just 1 MiB is read and written again", large},
		{"closed-stdout", "a reader that went away ends the plugin, and not with status 0", closedStdout},
		{"sigterm", "SIGTERM ends it within 5 s with status 130", sigterm},
		{"sigint", "SIGINT ends it within 5 s with status 130", sigint},
		{"events", "HARMONY_EVENTS_FD gets Event documents and nothing else", events},
		{"stdout", "stdout carries documents only", cleanStdout},
		{"secrets", "credentials of the environment are never printed", secrets},
		{"control-characters", "messages hold no control characters", controlCharacters},
	}
}

// Verify runs the checks of these names, or every check when there are none,
// against the plugin at path, an executable called harmony-NAME. The checks of
// output (events, stdout, secrets, control-characters) look at what the ones
// before them got. The error says that the checks could not be run at all; what
// the plugin does wrong is in the results.
func Verify(ctx context.Context, path string, only ...string) (results []Result, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, protocol.Invalid("%w", err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return nil, protocol.Invalid("%s is not an executable file", path)
	}
	dir, err := os.MkdirTemp("", "harmony-verify-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if removed := os.RemoveAll(dir); err == nil {
			err = removed
		}
	}()
	s := &subject{path: path, dir: dir}
	for _, c := range checks() {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		broken := c.run(ctx, s)
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
		r := Result{Check: c.name, Rule: c.rule, Passed: broken == nil}
		if broken != nil {
			r.Detail = broken.Error()
		}
		results = append(results, r)
	}
	return results, nil
}
