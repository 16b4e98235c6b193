package smoke

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxBody is how much of an answer's body is read.
const maxBody = 1 << 20

type answer struct {
	status int
	header http.Header
	body   []byte
	// cut is true when the body goes on after maxBody bytes.
	cut bool
	// took is how long it took from the request to the end of the body.
	took time.Duration
	// validUntil is the end of the server's certificate, where it has one.
	validUntil time.Time
}

// expectation is an HTTPExpect with its paths read.
type expectation struct {
	protocol.HTTPExpect
	paths []jsonPath
}

func newExpectation(expect protocol.HTTPExpect) (expectation, error) {
	e := expectation{HTTPExpect: expect}
	for i, want := range expect.JSON {
		path, err := newJSONPath(want)
		if err != nil {
			return e, fmt.Errorf("http.expect.json[%d].path: %w", i, err)
		}
		e.paths = append(e.paths, path)
	}
	return e, nil
}

// match is nil when the answer is as expected, else the first thing that is
// not: what was seen against what was expected.
func (e expectation) match(a answer) error {
	switch {
	case e.Status != 0 && a.status != e.Status:
		return fmt.Errorf("status %d, expected %d%s", a.status, e.Status, excerpt(a.body))
	case e.Status == 0 && (a.status < 200 || a.status > 399):
		return fmt.Errorf("status %d, expected 200 to 399%s", a.status, excerpt(a.body))
	}
	if limit := time.Duration(e.Within); limit > 0 && a.took > limit {
		return fmt.Errorf("answered in %s, expected %s at most", a.took.Round(time.Millisecond), limit)
	}
	if left := time.Until(a.validUntil); e.CertificateValidFor > 0 && left < time.Duration(e.CertificateValidFor) {
		return fmt.Errorf("the certificate is valid until %s, expected for another %s", a.validUntil.UTC().Format(time.DateTime), time.Duration(e.CertificateValidFor))
	}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		if err := matchHeader(a.header, name, e.Headers[name]); err != nil {
			return err
		}
	}
	if (e.Body != "" || len(e.paths) > 0) && a.cut {
		return fmt.Errorf("the body is over %d bytes, and no more of it is read", maxBody)
	}
	if e.Body != "" && !strings.Contains(string(a.body), e.Body) {
		return fmt.Errorf("the body does not contain %q%s", term.Excerpt(e.Body, maxExcerpt), excerpt(a.body))
	}
	return e.matchJSON(a.body)
}

// matchHeader takes a header's values one by one, or all of them as a list.
func matchHeader(header http.Header, name, want string) error {
	values := header.Values(name)
	switch {
	case len(values) == 0:
		return fmt.Errorf("no header %s", name)
	case slices.Contains(values, want), strings.Join(values, ", ") == want:
		return nil
	case secretHeader(name):
		return fmt.Errorf("header %s has another value than expected (not shown)", name)
	}
	return fmt.Errorf("header %s is %q, expected %q", name, term.Excerpt(strings.Join(values, ", "), maxExcerpt), want)
}

func (e expectation) matchJSON(body []byte) error {
	if len(e.paths) == 0 {
		return nil
	}
	value, err := parseJSON(body)
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w%s", err, excerpt(body))
	}
	for _, path := range e.paths {
		if err := path.match(value); err != nil {
			return err
		}
	}
	return nil
}

func show(v any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return term.Excerpt(fmt.Sprint(v), maxExcerpt)
	}
	return term.Excerpt(b.String(), maxExcerpt)
}

// The most characters of a body, and of a whole message, that a report shows.
const (
	maxExcerpt = 200
	maxMessage = 600
)

// excerpt is the start of a body for a message; empty for an empty body.
func excerpt(body []byte) string {
	// Four bytes a character at most; the rest is never looked at.
	s := term.Excerpt(string(body[:min(len(body), 8*maxExcerpt)]), maxExcerpt)
	if s == "" {
		return ""
	}
	return fmt.Sprintf("; body: %s", s)
}

// secretHeader reports whether a header's value must not be shown.
func secretHeader(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Www-Authenticate":
		return true
	}
	name = strings.ToLower(name)
	for _, word := range []string{"token", "secret", "password", "key", "session", "signature"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// withoutURL takes the URL, whose query can hold secrets, off a client's error.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
