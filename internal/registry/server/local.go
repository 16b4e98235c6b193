package server

import (
	"io"
	"net"
	"net/http"
	"net/url"
)

// local refuses what only a web page would ask for: another host than this
// machine, whose name was made to resolve to it, unless anyHost is set, and a
// request from another origin.
func local(next http.Handler, anyHost bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		from := r.Header.Get("Origin")
		origin, err := url.Parse(from)
		if (anyHost || isLoopbackHost(host)) && (from == "" || err == nil && origin.Host == r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"this registry answers to localhost only, unless it is started with --allow-remote, and to no web page"}]}`+"\n")
	})
}
