// Package daemon is the connection to a Docker-compatible daemon, such as
// dockerd or podman's service: the one that the docker command would use, found
// by the same variables and files. No docker command is run on this machine.
//
// It speaks only the few calls of the Engine API that building an image and
// taking it out again need.
package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// pingTimeout is how long a daemon may take for its first answer; ssh has to
// log in before.
const pingTimeout = 30 * time.Second

// maxPing bounds that answer, which is OK.
const maxPing = 1 << 10

// Client speaks to one daemon. It is safe for use by several goroutines.
type Client struct {
	// Builder is the version of the builder that the daemon prefers: "2" for
	// BuildKit, "1" for the classic one, "" if it does not say.
	Builder string

	endpoint Endpoint
	dial     dialer
	host     string
	http     *http.Client
}

// Connect finds the daemon that the environment names, and pings it. If none answers,
// the error is of status protocol.ExitUnsupported and lists what was tried.
func Connect(ctx context.Context, getenv func(string) string) (*Client, error) {
	endpoints, err := Endpoints(getenv)
	if err != nil {
		return nil, err
	}
	var tried []string
	for _, e := range endpoints {
		c, err := e.connect(ctx)
		switch {
		case err == nil:
			return c, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("connect to %s: %w", e, ctx.Err())
		}
		tried = append(tried, fmt.Sprintf("%s: %v", e, reason(err)))
	}
	refused := protocol.Unsupported("no Docker-compatible daemon answers (%s)", strings.Join(tried, "; "))
	return nil, refused.WithHint("start docker, or podman (systemctl --user start podman.socket), or name a daemon by DOCKER_HOST or docker context use")
}

// String is the address with what named it, without a password.
func (e Endpoint) String() string {
	address := e.Address
	if u, err := url.Parse(address); err == nil {
		address = u.Redacted()
	}
	if len(e.From) > 0 && e.From != "the usual sockets" {
		return address + " of " + e.From
	}
	return address
}

// reason is the cause of a failed connection, without its wrapping.
func reason(err error) error {
	var wrong *net.OpError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("no such socket")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("permission denied; is the user in the group docker?")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("nothing listens there")
	case errors.As(err, &wrong) && wrong.Err != nil:
		return wrong.Err
	}
	return err
}

func (e Endpoint) connect(ctx context.Context) (*Client, error) {
	dial, host, err := e.dialer()
	if err != nil {
		return nil, err
	}
	c := &Client{endpoint: e, dial: dial, host: host}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
		MaxIdleConns:       4,
		IdleConnTimeout:    time.Minute,
	}}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	response, err := c.do(ctx, http.MethodGet, "/_ping", nil, nil, nil)
	if err != nil {
		c.Close()
		return nil, err
	}
	defer response.Body.Close()
	// Read to its end, the connection serves for what comes next: over ssh each one is a login.
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxPing)); err != nil {
		c.Close()
		return nil, err
	}
	c.Builder = response.Header.Get("Builder-Version")
	return c, nil
}

// String says where the daemon is.
func (c *Client) String() string { return c.endpoint.String() }

// Close ends connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do sends a request. An answer of status 400 or more is a [*Refusal]. The
// caller closes the body of any other.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, header http.Header, body io.Reader) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: c.host, Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, header)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		defer response.Body.Close()
		return nil, c.refusal(response)
	}
	return response, nil
}

// lost is the error of a connection that failed or ended.
func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return protocol.Retryable("the daemon at %s: %w", c.endpoint, err)
}

// Refusal is what a daemon answers instead of a result.
type Refusal struct {
	// Daemon is where it is, Status the one of HTTP, Message its own words.
	Daemon  string
	Status  int
	Message string
}

func (r *Refusal) Error() string { return fmt.Sprintf("the daemon at %s: %s", r.Daemon, r.Message) }

// IsNotFound reports that the daemon has no such image or endpoint.
func IsNotFound(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Status == http.StatusNotFound
}

func (c *Client) refusal(response *http.Response) *Refusal {
	r := &Refusal{Daemon: c.endpoint.String(), Status: response.StatusCode, Message: response.Status}
	data, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	var body struct {
		Message string `json:"message"`
	}
	if err == nil && json.Unmarshal(data, &body) == nil && body.Message != "" {
		r.Message = body.Message
	}
	return r
}
