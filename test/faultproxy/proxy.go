// Package faultproxy stands between a client and a registry in tests and spoils
// one request.
package faultproxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is what happens to a request.
type Fault struct {
	// Name is for messages.
	Name string
	// Do spoils the request; forward is the registry's own answer to it.
	Do func(w http.ResponseWriter, r *http.Request, forward http.Handler)
	// Revokes makes the token of the request worthless from then on.
	Revokes bool
}

// Faults are those of a bad network and a busy registry.
func Faults() []Fault {
	return []Fault{
		{Name: "reset", Do: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { reset(w) }},
		{Name: "reset in the body", Do: resetInBody},
		{Name: "answer lost", Do: func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			forward.ServeHTTP(newRecorder(), r)
			reset(w)
		}},
		{Name: "answer truncated", Do: truncate},
		{Name: "delay", Do: func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			time.Sleep(100 * time.Millisecond)
			forward.ServeHTTP(w, r)
		}},
		{Name: "408", Do: status(http.StatusRequestTimeout, nil)},
		{Name: "429 seconds", Do: status(http.StatusTooManyRequests, func() string { return "1" })},
		{Name: "429 date", Do: status(http.StatusTooManyRequests, func() string {
			return time.Now().Add(time.Second).UTC().Format(http.TimeFormat)
		})},
		{Name: "500", Do: status(http.StatusInternalServerError, nil)},
		{Name: "502", Do: status(http.StatusBadGateway, nil)},
		{Name: "503", Do: status(http.StatusServiceUnavailable, nil)},
	}
}

// Expired is a token that stops to be valid: the registry refuses it from the
// request on.
func Expired() Fault { return Fault{Name: "token expired", Revokes: true} }

// Proxy forwards requests to a registry. It is safe for use by several
// goroutines.
type Proxy struct {
	forward *httputil.ReverseProxy

	mu       sync.Mutex
	requests []string
	at       int
	fault    Fault
	before   func(n int)
	refused  map[string]bool
}

// New is a proxy in front of upstream, which is reached through transport, or
// the default one when it is nil.
func New(upstream *url.URL, transport http.RoundTripper) *Proxy {
	p := &Proxy{refused: map[string]bool{}}
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport: transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	return p
}

// Inject makes the n-th request from now, counted from 1, meet the fault.
func (p *Proxy) Inject(n int, fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests, p.at, p.fault = nil, n, fault
}

// Before calls do with the number of each request before it is forwarded.
func (p *Proxy) Before(do func(n int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests, p.at, p.before = nil, 0, do
}

// Requests are the methods and paths since the last Inject.
func (p *Proxy) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.requests...)
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, r.Method+" "+r.URL.RequestURI())
	n := len(p.requests)
	hit, fault, before := n == p.at, p.fault, p.before
	authorization := r.Header.Get("Authorization")
	if hit && fault.Revokes && strings.HasPrefix(authorization, "Bearer ") {
		p.refused[authorization] = true
	}
	refused := p.refused[authorization]
	p.mu.Unlock()
	if before != nil {
		before(n)
	}
	switch {
	case refused:
		r.Header.Set("Authorization", "Bearer expired")
		p.forward.ServeHTTP(w, r)
	case hit && fault.Do != nil:
		fault.Do(w, r, p.forward)
	default:
		p.forward.ServeHTTP(w, r)
	}
}

// reset closes the connection as a broken network does.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	inner := conn
	if t, ok := conn.(*tls.Conn); ok {
		inner = t.NetConn()
	}
	if t, ok := inner.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = inner.Close()
}

// resetInBody lets the registry have half of what the client sends.
func resetInBody(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	half := r.ContentLength / 2
	if half <= 0 {
		reset(w)
		return
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r.Body, half), broken{}), r.Body}
	forward.ServeHTTP(newRecorder(), r)
	reset(w)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// truncate gives half of the answer's body, or of its header.
func truncate(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	answer := newRecorder()
	forward.ServeHTTP(answer, r)
	if answer.body.Len() < 2 || r.Method == http.MethodHead {
		reset(w)
		return
	}
	for key, values := range answer.header {
		w.Header()[key] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(answer.body.Len()))
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body.Bytes()[:answer.body.Len()/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func status(code int, after func() string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		if after != nil {
			w.Header().Set("Retry-After", after())
		}
		w.WriteHeader(code)
	}
}

// recorder keeps an answer that the client does not get.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, status: http.StatusOK} }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
