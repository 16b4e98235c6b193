// Package redirect says which redirects are followed when files are fetched from
// elsewhere: few, and none to another scheme.
package redirect

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nationtech/harmony/internal/registry/auth"
)

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

// Transport applies [Check] to a client that does not check redirects itself.
type Transport struct{ Inner http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var before []*http.Request // a redirected request has the response that redirected it
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

// IsHere reports whether a host stands for this machine or for what is connected to
// it directly: the loopback, link-local and unspecified addresses. Names that only
// a resolver knows are not looked up.
func IsHere(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && isHere(ip)
}

func isHere(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsInterfaceLocalMulticast()
}

// Outside makes a transport refuse to connect to this machine, whatever name or
// redirect led there: what somebody else has written must not reach its ports. A
// proxy may be here, and the hosts that are named.
func Outside(t *http.Transport, except ...string) *http.Transport {
	var trusted sync.Map
	for _, host := range except {
		trusted.Store(host, true)
	}
	if proxy := t.Proxy; proxy != nil {
		t.Proxy = func(r *http.Request) (*url.URL, error) {
			u, err := proxy(r)
			if u != nil {
				trusted.Store(u.Hostname(), true)
			}
			return u, err
		}
	}
	dial := func(guard func(network, address string, c syscall.RawConn) error) *net.Dialer {
		return &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: guard}
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if _, ok := trusted.Load(host); err == nil && ok {
			return dial(nil).DialContext(ctx, network, address)
		}
		return dial(func(_, to string, _ syscall.RawConn) error {
			if at, err := netip.ParseAddrPort(to); err != nil || isHere(at.Addr()) {
				return &Refused{fmt.Sprintf("%s leads to this machine, %s: an address from elsewhere cannot name its ports", address, to)}
			}
			return nil
		}).DialContext(ctx, network, address)
	}
	return t
}
