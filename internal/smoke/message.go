package smoke

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/nationtech/harmony/internal/cli/term"
)

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
