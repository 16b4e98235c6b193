// Package redirect says which redirects are followed when files are fetched from
// elsewhere: few, and none to another scheme.
package redirect

import (
	"fmt"
	"net/http"

	"github.com/nationtech/harmony/internal/registry/auth"
)

// most is how many redirects are followed one after the other.
const most = 5

// Refused is a redirect that is not followed.
type Refused struct{ text string }

func (e *Refused) Error() string { return e.text }

// Check is the CheckRedirect of an [http.Client]. Its error is [Refused].
func Check(next *http.Request, before []*http.Request) error {
	first := before[0].URL
	switch {
	case next.URL.Scheme != first.Scheme:
		return &Refused{fmt.Sprintf("%s redirects from %s:// to %s://, which is refused", first.Host, first.Scheme, next.URL.Scheme)}
	case next.URL.Scheme == "http" && !auth.IsLoopback(next.URL.Host):
		return &Refused{fmt.Sprintf("%s redirects to another machine by http://, which is refused", first.Host)}
	case len(before) > most:
		return &Refused{fmt.Sprintf("%s redirects more than %d times", first.Host, most)}
	}
	return nil
}

// Transport holds a client to [Check] that checks none of its redirects itself.
type Transport struct{ Inner http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var before []*http.Request // a request that a redirect brought about holds the answer that did
	for last := r.Response; last != nil && last.Request != nil; last = last.Request.Response {
		before = append([]*http.Request{last.Request}, before...)
	}
	if len(before) > 0 {
		if err := Check(r, before); err != nil {
			return nil, err
		}
	}
	return t.Inner.RoundTrip(r)
}
