package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
)

// Upgrade posts to a path and turns the connection into another protocol, such
// as h2c at /grpc. A daemon that has no such thing answers a [*Refusal]. The
// connection lives on when ctx ends.
func (c *Client) Upgrade(ctx context.Context, path, to string, header http.Header) (net.Conn, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	upgraded, err := c.upgrade(ctx, conn, path, to, header)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return upgraded, nil
}

func (c *Client) upgrade(ctx context.Context, conn net.Conn, path, to string, header http.Header) (net.Conn, error) {
	u := url.URL{Scheme: "http", Host: c.host, Path: path}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, header)
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", to)
	if err := request.Write(conn); err != nil {
		return nil, c.lost(ctx, err)
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	switch {
	case response.StatusCode >= http.StatusBadRequest:
		defer response.Body.Close()
		return nil, c.refusal(response)
	case response.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("the daemon at %s does not upgrade %s: %w", c.endpoint, path, errors.New(response.Status))
	}
	// The first bytes of the new protocol may lie in the reader already.
	return &bufferedConn{Conn: conn, reader: reader}, nil
}

type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.reader.Read(p) }
