package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
)

// dialer opens a connection to the daemon.
type dialer func(ctx context.Context) (net.Conn, error)

// dialer is how the endpoint is reached, and the host to ask for there.
func (e Endpoint) dialer() (dialer, string, error) {
	u, err := url.Parse(e.Address)
	if err != nil {
		return nil, "", err
	}
	var d net.Dialer
	switch u.Scheme {
	case "unix":
		return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "unix", u.Path) }, "docker", nil
	case "tcp":
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), e.port())
		}
		if e.TLS == nil {
			return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", host) }, host, nil
		}
		secure := tls.Dialer{NetDialer: &d, Config: e.TLS}
		return func(ctx context.Context) (net.Conn, error) { return secure.DialContext(ctx, "tcp", host) }, host, nil
	case "ssh":
		dial, err := dialSSH(e.Address)
		return dial, "docker", err
	}
	return nil, "", fmt.Errorf("nothing dials %s", u.Redacted())
}

// port is the one that docker has for tcp.
func (e Endpoint) port() string {
	if e.TLS != nil {
		return "2376"
	}
	return "2375"
}
