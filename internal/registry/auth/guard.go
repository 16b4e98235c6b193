package auth

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// Guard lets plain http through between a registry on the loopback and this
// machine, and elsewhere only where the topology says so: go-containerregistry alone would take it for private
// addresses too, and send credentials over it. On the loopback it asks by plain
// http first: a registry there seldom has TLS, of which an attempt takes longer
// than all that a push of an unchanged image needs. It is safe for use by
// several goroutines.
type Guard struct {
	// Host is the registry, with its port.
	Host string
	// Insecure allows plain http wherever the registry is.
	Insecure bool
	// Inner does the requests; a transport with limits when nil.
	Inner http.RoundTripper

	plain  atomic.Bool
	logins logins
}

// RoundTrip implements [http.RoundTripper]. It fails with [PlainRefused].
func (g *Guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.refuse(r); err != nil {
		return nil, err
	}
	plain := r.URL.Scheme == "http"
	if !plain && isPing(r) && IsLoopback(r.URL.Host) {
		if response := g.pingPlain(r); response != nil {
			return response, nil
		}
	}
	response, err := g.roundTrip(r)
	if err == nil && r.URL.Host == g.Host {
		g.plain.Store(plain)
	}
	return response, err
}

func (g *Guard) refuse(r *http.Request) error {
	if r.URL.Scheme != "http" || g.Insecure || IsLoopback(g.Host) && IsLoopback(r.URL.Host) {
		return nil
	}
	return &PlainRefused{Host: r.URL.Host}
}

func (g *Guard) inner() http.RoundTripper { return cmp.Or(g.Inner, shared) }

// isPing reports the request by which go-containerregistry finds out what a
// registry speaks: it goes where the answer came from.
func isPing(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/v2/" && r.Header.Get("Authorization") == ""
}

// pingPlain is the answer of a registry that speaks plain http, else nil.
func (g *Guard) pingPlain(r *http.Request) *http.Response {
	r = r.Clone(r.Context())
	r.URL.Scheme = "http"
	response, err := g.inner().RoundTrip(r)
	if err != nil {
		return nil
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusUnauthorized {
		response.Body.Close()
		return nil
	}
	if r.URL.Host == g.Host {
		g.plain.Store(true)
	}
	return response
}

// MayBePlain reports whether plain http is allowed with the registry itself.
func (g *Guard) MayBePlain() bool { return g.Insecure || IsLoopback(g.Host) }

// Plain reports whether the registry's last answer came over plain http.
func (g *Guard) Plain() bool { return g.plain.Load() }

// PlainRefused is a request that the guard did not let through.
type PlainRefused struct{ Host string }

func (e *PlainRefused) Error() string {
	return fmt.Sprintf("plain http to %s is not allowed", e.Host)
}

// IsLoopback reports whether a host, with or without a port, is this machine by its
// name alone.
func IsLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip.IsLoopback()
}
