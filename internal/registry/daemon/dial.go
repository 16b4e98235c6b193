package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/docker/cli/cli/connhelper"
)

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
		host, port, dial := u.Host, "2375", d.DialContext
		if e.TLS != nil {
			port, dial = "2376", (&tls.Dialer{NetDialer: &d, Config: e.TLS}).DialContext
		}
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), port)
		}
		return func(ctx context.Context) (net.Conn, error) { return dial(ctx, "tcp", host) }, host, nil
	case "ssh":
		dial, err := dialSSH(e.Address)
		return dial, "docker", err
	}
	return nil, "", fmt.Errorf("nothing dials %s", u.Redacted())
}

// dialSSH is how an address is reached that begins with ssh: by the ssh command
// of this machine, which runs docker system dial-stdio on the other one.
func dialSSH(address string) (dialer, error) {
	helper, err := connhelper.GetConnectionHelper(address)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := helper.Dialer(ctx, "tcp", "docker")
		if err != nil {
			return nil, err
		}
		return &sshConn{Conn: conn, ended: make(chan struct{})}, nil
	}, nil
}

// sshWord is how long a failed Write waits for what ssh said.
const sshWord = time.Second

// sshConn reports why ssh ended to writers too: only Read knows what
// ssh said.
type sshConn struct {
	net.Conn
	once  sync.Once
	ended chan struct{}
	err   error
}

func (c *sshConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.once.Do(func() { c.err = err; close(c.ended) })
	}
	return n, err
}

func (c *sshConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil {
		return n, nil
	}
	select {
	case <-c.ended:
		return n, c.err
	case <-time.After(sshWord):
		return n, err
	}
}
