package smoke

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxObjects bounds what is read of a list of objects.
const maxObjects = 64 << 20

type cluster struct {
	*conn.Conn
	client *http.Client
	server string // the API server's URL, without a slash at the end
}

func newCluster(conn *conn.Conn) (*cluster, error) {
	client, err := rest.HTTPClientFor(conn.Config)
	if err != nil {
		return nil, protocol.Invalid("cluster %s: %w", conn.Config.Host, err)
	}
	server, _, err := rest.DefaultServerUrlFor(conn.Config)
	if err != nil {
		return nil, protocol.Invalid("cluster %s: %w", conn.Config.Host, err)
	}
	// A redirect is an answer of the service like any other.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &cluster{Conn: conn, client: client, server: strings.TrimSuffix(server.String(), "/")}, nil
}

// get reads an object or a list of the namespace: group is api/v1 or
// apis/GROUP/VERSION. What does not exist is an error that says so.
func (c *cluster) get(ctx context.Context, group, resource string, query url.Values, into any) error {
	body, err := c.read(ctx, fmt.Sprintf("%s/namespaces/%s/%s", group, c.Namespace, resource), query)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read %s of namespace %s: %w", resource, c.Namespace, err)
	}
	return nil
}

// read reads what is at a path of the API server, without its first slash.
func (c *cluster) read(ctx context.Context, path string, query url.Values) ([]byte, error) {
	return c.send(ctx, http.MethodGet, path, query, nil)
}

// send sends a request, with the body as JSON unless it is nil, and returns the answer's.
func (c *cluster) send(ctx context.Context, method, path string, query url.Values, body any) ([]byte, error) {
	address := c.server + "/" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.answer(req, path)
}

func (c *cluster) answer(req *http.Request, path string) ([]byte, error) {
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxObjects))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		if _, resource, found := strings.Cut(path, "/namespaces/"+c.Namespace+"/"); found {
			path = resource
		}
		return nil, c.refusal(resp.StatusCode, path, body)
	}
	return body, nil
}

// in is the same cluster in another namespace; empty is the one that it is in.
func (c *cluster) in(namespace string) *cluster {
	if c == nil || namespace == "" {
		return c
	}
	other, place := *c, *c.Conn
	place.Namespace = namespace
	other.Conn = &place
	return &other
}

func (c *cluster) do(req *http.Request) (*http.Response, error) {
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return resp, nil
}

// unreachable is the error of an API server that gave no answer. The end of an
// attempt's time stays as it is.
func (c *cluster) unreachable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return newBlocked(c.Explain(err))
}

// refusal is the error that the API server answered. It blocks the check unless
// it is about the app, above all that something does not exist.
func (c *cluster) refusal(code int, resource string, body []byte) error {
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err != nil || status.Message == "" {
		status.Message = http.StatusText(code) + excerpt(body)
	}
	status.Code = int32(code)
	err := &apierrors.StatusError{ErrStatus: status}
	if code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusTooManyRequests || code >= 500 {
		return newBlocked(c.Explain(err))
	}
	return fmt.Errorf("%s in namespace %s: %w", resource, c.Namespace, err)
}

// newBlocked makes err one that says nothing about the app.
func newBlocked(err error) error {
	return &blocked{err: err, final: protocol.ExitCode(err) != protocol.ExitRetryable}
}
