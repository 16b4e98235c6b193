package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// isSmokeCheck reports an executable that is a kind of smoke check, harmony-check-NAME, and
// no stage.
func isSmokeCheck(path string) bool {
	return strings.HasPrefix(filepath.Base(path), "harmony-check-")
}

// smokeChecks are the rules of a kind of smoke check. The kit does not know which settings
// it takes, so an answer of any status will do, as long as it is one.
func smokeChecks() []check {
	return []check{
		{"answer", "stdout is empty or one CheckAnswer, which says that it passed only with status 0", answers},
		{"exit-status", "the exit status is 0 to 5: passed, failed, wrong settings, something missing, a temporary failure", knownStatus},
		{"unknown-field", "fields that are not known, and a request of several attempts, change nothing", unknownFields},
		{"no-input", "an empty stdin leads to status 2", refusesInput("")},
		{"garbage", "invalid input leads to status 2, and a message", garbageRequest},
		{"large", "a request of just 1 MiB is read", largeRequest},
		{"sigterm", "SIGTERM ends it within 5 s", ends(syscall.SIGTERM)},
		{"secrets", "credentials of the environment are never printed", secrets},
		{"control-characters", "messages contain no control characters", cleanMessages},
	}
}

// request is one of a check without settings.
func request(more string) string {
	return `{"apiVersion":"harmony.nationtech.io/v1","kind":"CheckRequest","metadata":{"name":"conformance","version":"1.2.3"},` +
		`"spec":{"check":"conformance","type":"conformance","target":"staging","attempt":1,"timeout":"10s","settings":{}` + more + "}}\n"
}

func answers(ctx context.Context, s *subject) error {
	r, documents, err := s.answer(ctx, request(""))
	switch {
	case err != nil:
		return err
	case len(documents) > 1:
		return fmt.Errorf("it printed %d documents", len(documents))
	case len(documents) == 0:
		return nil
	case documents[0].Kind != protocol.KindCheckAnswer:
		return fmt.Errorf("it printed a document of kind %s", documents[0].Kind)
	}
	answer, err := protocol.Decode[protocol.CheckAnswer](documents[0])
	if err == nil && answer.Passed && r.code != 0 {
		err = fmt.Errorf("it says that the check passed, and exited with status %d", r.code)
	}
	return err
}

func knownStatus(ctx context.Context, s *subject) error {
	r, err := s.with(ctx, request(""))
	switch {
	case err != nil:
		return err
	case r.code < 0 || r.code > protocol.ExitSmoke:
		return fmt.Errorf("it exited with status %d: %s", r.code, excerpt(r.stderr))
	case r.code != 0 && len(r.stderr) == 0 && len(r.stdout) == 0:
		return fmt.Errorf("it exited with status %d and does not say why", r.code)
	}
	return nil
}

func unknownFields(ctx context.Context, s *subject) error {
	plain, err := s.with(ctx, request(""))
	if err != nil {
		return err
	}
	more, err := s.with(ctx, strings.Replace(request(`,"future":{"a":[null]}`), `"attempt":1`, `"attempt":2`, 1))
	if err == nil && plain.code != more.code {
		return fmt.Errorf("without them it exits with status %d, with them with %d: %s", plain.code, more.code, excerpt(more.stderr))
	}
	return err
}

// refusesInput gives it what is no request.
func refusesInput(input string) func(context.Context, *subject) error {
	return func(ctx context.Context, s *subject) error {
		r, err := s.with(ctx, input)
		switch {
		case err != nil:
			return err
		case r.code != protocol.ExitInvalid:
			return fmt.Errorf("after %q it exited with status %d", input, r.code)
		case len(r.stderr) == 0 && len(r.stdout) == 0:
			return fmt.Errorf("after %q it does not say what is wrong", input)
		}
		return nil
	}
}

func garbageRequest(ctx context.Context, s *subject) error {
	for _, input := range []string{"hello\n", "{\n", "[]\n", "{}\n", "\xff\xfe\n", strings.Replace(request(""), "CheckRequest", "Weather", 1)} {
		if err := refusesInput(input)(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func largeRequest(ctx context.Context, s *subject) error {
	const field = `,"future":""`
	size := protocol.MaxDocument - len(request(field))
	plain, err := s.with(ctx, request(""))
	if err != nil {
		return err
	}
	r, err := s.with(ctx, request(strings.TrimSuffix(field, `"`)+strings.Repeat("x", size)+`"`))
	if err == nil && r.code != plain.code {
		return fmt.Errorf("it exited with status %d, and with %d after a small one", r.code, plain.code)
	}
	return err
}

// ends sends a signal while it waits for its request.
func ends(signal syscall.Signal) func(context.Context, *subject) error {
	return func(ctx context.Context, s *subject) error {
		in, feed, err := os.Pipe()
		if err != nil {
			return err
		}
		defer in.Close()
		defer feed.Close()
		var sent time.Time
		r, err := s.start(ctx, in, nil, func(p *os.Process) error {
			if _, err := io.WriteString(feed, `{"apiVersion":`); err != nil {
				return err
			}
			time.Sleep(startTime)
			sent = time.Now()
			return p.Signal(signal)
		})
		switch {
		case err != nil:
			return err
		case time.Since(sent) > stopDeadline:
			return fmt.Errorf("it kept running for more than %s", stopDeadline)
		case r.code == 0:
			return errors.New("it exited with status 0")
		}
		return nil
	}
}

// startTime is what it may take to begin with its work.
const startTime = 500 * time.Millisecond

// cleanMessages gives it a check with control characters in its name.
func cleanMessages(ctx context.Context, s *subject) error {
	hostile := strings.Replace(request(""), `"check":"conformance"`, `"check":"\u001b[31mred\u0007"`, 1)
	if _, err := s.with(ctx, hostile); err != nil {
		return err
	}
	return controlFree(s)
}
