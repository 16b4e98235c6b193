// Package conformance checks that a stage plugin, or a kind of smoke check, keeps the
// contract of harmony's plugins. It runs the plugin as a process, so that it may be written in any language,
// and gives it nothing that it could change: an empty folder as its home, no kube
// context, and apps that have failed already or that no topology can serve.
package conformance

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
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Result is the outcome of one check.
type Result struct {
	// Check is its short name, such as exit-status, and Rule the requirement.
	Check  string `json:"check"`
	Rule   string `json:"rule"`
	Passed bool   `json:"passed"`
	// Detail is how the rule was broken, or empty.
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
		{"failed-app", "no work is done for an app that has already failed", failedApp},
		{"exit-status", "the exit status is that of the Failure read: 1, 2, 3, 4 and 5; a code outside 1 to 255 counts as 1", exitStatus},
		{"own-failure", "its own failure is a Failure document with the exit status as its code", ownFailure},
		{"several-images", "an app with several images, or several places for one, is refused with status 3 by a stage for images that does not list the feature for it", severalImages},
		{"no-input", "an empty stream is an error", noInput},
		{"garbage", "invalid input leads to status 2, a Failure and a message", garbage},
		{"oversized", "a document of over 1 MiB leads to status 2", oversized},
		{"large", "a document of just 1 MiB is read and written again", large},
		{"closed-stdout", "a closed stdout ends the plugin with another status than 0", closedStdout},
		{"sigterm", "SIGTERM ends it within 5 s with status 130", sigterm},
		{"sigint", "SIGINT ends it within 5 s with status 130", sigint},
		{"events", "HARMONY_EVENTS_FD gets only Event documents", events},
		{"stdout", "stdout has only documents", cleanStdout},
		{"secrets", "credentials of the environment are never printed", secrets},
		{"control-characters", "messages contain no control characters", controlCharacters},
	}
}

// Verify runs the checks of these names, or every check when there are none,
// against the plugin at path, an executable named harmony-NAME; of the kind of smoke check
// harmony-check-NAME, those of smoke checks. The checks of
// output (events, stdout, secrets, control-characters) examine the output of the runs
// before them. An error means that the checks could not run; faults of the plugin are
// in the results.
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
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &subject{path: path, dir: dir}
	rules := checks()
	if isSmokeCheck(path) {
		rules = smokeChecks()
	}
	for _, c := range rules {
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

const (
	// deadline bounds every run of the plugin.
	deadline = 15 * time.Second
	// stopDeadline is how long it may take to end after a signal.
	stopDeadline = 5 * time.Second
	// maxOutput bounds what is kept of a run's output.
	maxOutput = 8 << 20
	// secret stands for a password in the plugin's environment.
	secret = "hunter2-of-the-conformance-kit"
)

// subject is the plugin under test.
type subject struct {
	path, dir string
	// seen is the output of every run so far, for the checks of all of it.
	seen []run
}

// run is one run of the plugin.
type run struct {
	code           int
	stdout, stderr []byte
	events         []byte
}

// documents are the lines of stdout, each of which must be one.
func (r run) documents() ([]protocol.Document, error) {
	var list []protocol.Document
	for line := range bytes.Lines(r.stdout) {
		d, err := protocol.Parse(line)
		if err != nil {
			return nil, fmt.Errorf("stdout has %s: %w", excerpt(line), err)
		}
		list = append(list, d)
	}
	return list, nil
}

// answer runs the plugin with a stream and reads the documents of its stdout.
func (s *subject) answer(ctx context.Context, stdin string, args ...string) (r run, documents []protocol.Document, err error) {
	if r, err = s.with(ctx, stdin, args...); err == nil {
		documents, err = r.documents()
	}
	return r, documents, err
}

// with runs the plugin with a stream.
func (s *subject) with(ctx context.Context, stdin string, args ...string) (run, error) {
	return s.start(ctx, strings.NewReader(stdin), nil, nil, args...)
}

// start runs the plugin to its end. began, if not nil, is called once the process
// runs. stdout, if not nil, replaces the buffer.
func (s *subject) start(ctx context.Context, stdin io.Reader, stdout *os.File, began func(*os.Process) error, args ...string) (run, error) {
	limit, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	events, err := os.CreateTemp(s.dir, "events-")
	if err != nil {
		return run{}, err
	}
	defer events.Close()
	out, messages := &process.Tail{Limit: maxOutput}, &process.Tail{Limit: maxOutput}
	command := process.Command{
		Args: append([]string{s.path}, args...), Dir: s.dir, Env: s.environment(), Files: []*os.File{events}, Grace: time.Second,
		Stdin: stdin, Stdout: out, Stderr: messages,
	}
	if stdout != nil {
		command.Stdout = stdout
	}
	child, err := process.Start(limit, command)
	if err != nil {
		return run{}, err
	}
	if began != nil {
		err = began(child.Process())
	}
	waited := child.Wait()
	r := run{code: child.Code(), stdout: out.Bytes(), stderr: messages.Bytes()}
	var exit *exec.ExitError
	switch {
	case err != nil:
		return r, err
	case limit.Err() != nil:
		return r, fmt.Errorf("it did not exit within %s", deadline)
	case waited != nil && !errors.As(waited, &exit):
		return r, waited
	}
	if r.events, err = os.ReadFile(events.Name()); err != nil {
		return r, err
	}
	s.seen = append(s.seen, r)
	return r, nil
}

// environment leads the plugin to nothing real.
func (s *subject) environment() []string {
	env := []string{
		"HOME=" + s.dir, "XDG_CACHE_HOME=" + filepath.Join(s.dir, "cache"), "TMPDIR=" + s.dir,
		"KUBECONFIG=" + filepath.Join(s.dir, "no-kubeconfig"), "DOCKER_CONFIG=" + s.dir,
		"HARMONY_EVENTS_FD=3", "HARMONY_REGISTRY=registry.invalid/x",
		"HARMONY_REGISTRY_USERNAME=conformance", "HARMONY_REGISTRY_PASSWORD=" + secret, "CONFORMANCE_TOKEN=" + secret,
	}
	for _, name := range []string{"PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// excerpt shows the beginning of a line of output.
func excerpt(line []byte) string {
	const most = 120
	line = bytes.TrimRight(line, "\n")
	if len(line) > most {
		return fmt.Sprintf("%q…", line[:most])
	}
	return fmt.Sprintf("%q", line)
}
