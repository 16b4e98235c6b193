package smoke

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The gRPC health checking protocol
// (https://github.com/grpc/grpc/blob/master/doc/health-checking.md) is one call, so it is
// made with net/http's HTTP/2: a gRPC library would triple the start of harmony-smoke.
const (
	healthCheck  = "/grpc.health.v1.Health/Check"
	frameHeader  = 5 // a flag for compression and the length of the message
	maxMessages  = 64 << 10
	grpcNotFound = "5"
	grpcUnknown  = "12" // unimplemented
)

// servings are the words for the status in an answer, by its number.
var servings = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

type grpcProbe struct {
	check   protocol.GRPCCheck
	cluster *cluster
	tls     *tls.Config
}

func newGRPCProbe(root string, check protocol.GRPCCheck, cluster *cluster) (probe, error) {
	settings, err := tlsConfig(root, check.TLS)
	if err != nil {
		return nil, fmt.Errorf("grpc.%w", err)
	}
	return grpcProbe{check: check, cluster: cluster, tls: settings}, nil
}

func (p grpcProbe) attempt(ctx context.Context) (string, error) {
	to, host, dial, err := p.way(ctx)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: p.tls, DisableKeepAlives: true, Protocols: new(http.Protocols)}
	defer transport.CloseIdleConnections()
	scheme := "http"
	if p.tls != nil {
		scheme = "https"
		transport.Protocols.SetHTTP2(true)
	} else {
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://"+host+healthCheck, bytes.NewReader(p.question()))
	if err != nil {
		return "", err
	}
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"harmony-smoke"}}
	response, err := transport.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("%s: %w", to, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxMessages))
	if err != nil {
		return "", fmt.Errorf("%s: read the answer: %w", to, err)
	}
	if err := p.refused(response); err != nil {
		return "", fmt.Errorf("%s: %w", to, err)
	}
	status, err := serving(body)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", to, err)
	case status != "SERVING":
		return "", fmt.Errorf("%s: %s is %s, expected SERVING", to, p.asked(), status)
	}
	return fmt.Sprintf("%s: %s is SERVING", to, p.asked()), nil
}

func (p grpcProbe) asked() string {
	if p.check.Health == "" {
		return "the server"
	}
	return p.check.Health
}

// question is a HealthCheckRequest in its frame.
func (p grpcProbe) question() []byte {
	var message []byte
	if p.check.Health != "" {
		message = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), p.check.Health)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 1, frameHeader), uint32(len(message)))
	return append(frame, message...)
}

// refused is why the call failed. A gRPC status comes after the answer, or in its place.
func (p grpcProbe) refused(response *http.Response) error {
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %d: not a gRPC server", response.StatusCode)
	}
	header := response.Trailer
	if response.Header.Get("Grpc-Status") != "" {
		header = response.Header
	}
	switch code := header.Get("Grpc-Status"); code {
	case "0":
		return nil
	case "":
		return errors.New("no gRPC status: not a gRPC server")
	case grpcNotFound:
		return fmt.Errorf("the server does not know the service %s", p.check.Health)
	case grpcUnknown:
		return errors.New("the server does not implement the gRPC health checking protocol")
	default:
		return fmt.Errorf("gRPC status %s: %s", term.Excerpt(code, maxExcerpt), term.Excerpt(header.Get("Grpc-Message"), maxExcerpt))
	}
}

// serving reads a HealthCheckResponse in its frame.
func serving(body []byte) (string, error) {
	if len(body) < frameHeader || body[0] != 0 || int(binary.BigEndian.Uint32(body[1:])) != len(body)-frameHeader {
		return "", errors.New("the answer is not a gRPC message")
	}
	status := uint64(0)
	for rest := body[frameHeader:]; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return "", protowire.ParseError(n)
		}
		rest = rest[n:]
		if number == 1 && kind == protowire.VarintType {
			status, n = protowire.ConsumeVarint(rest)
		} else {
			n = protowire.ConsumeFieldValue(number, kind, rest)
		}
		if n < 0 {
			return "", protowire.ParseError(n)
		}
		rest = rest[n:]
	}
	if status >= uint64(len(servings)) {
		return fmt.Sprintf("status %d", status), nil
	}
	return servings[status], nil
}

type dial func(ctx context.Context, network, address string) (net.Conn, error)

// way is how to reach the server: its name for messages, that of the URL, and the dialer.
func (p grpcProbe) way(ctx context.Context) (to, host string, _ dial, err error) {
	if p.check.Address != "" {
		return p.check.Address, p.check.Address, new(net.Dialer).DialContext, nil
	}
	service, err := p.cluster.service(ctx, p.check.Service)
	if err != nil {
		return "", "", nil, err
	}
	port, err := portOf(service, p.check.Port)
	if err != nil {
		return "", "", nil, err
	}
	pods, err := p.cluster.readyPods(ctx, p.check.Service, port)
	if err != nil {
		return "", "", nil, err
	}
	host = fmt.Sprintf("%s.%s.svc:%d", p.check.Service, p.cluster.Namespace, port.Port)
	return fmt.Sprintf("service %s, %s", p.check.Service, pods[0]), host, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return p.cluster.dial(ctx, pods[0])
	}, nil
}

// dial opens a connection to a pod through the API server.
func (c *cluster) dial(ctx context.Context, to podPort) (net.Conn, error) {
	conn, err := c.forward(ctx, to.pod)
	if err != nil {
		return nil, err
	}
	refused, data, err := openStreams(conn, to.port, "0")
	if err == nil {
		err = refused.Close() // our direction
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the connection: %w", err), conn.Close())
	}
	return &podConn{Stream: data, refused: refused, forward: conn}, nil
}

// podConn is a connection to a pod. It ends with its context, as its request does, so that
// it needs no deadlines.
type podConn struct {
	httpstream.Stream
	refused io.Reader
	forward httpstream.Connection
}

// Read says why the node refused the connection, where it did.
func (c *podConn) Read(b []byte) (int, error) {
	n, err := c.Stream.Read(b)
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}
	if reason := refusalOf(c.refused); reason != nil {
		return 0, reason
	}
	return 0, io.EOF
}

func (c *podConn) Close() error                     { return c.forward.Close() }
func (c *podConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *podConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *podConn) SetDeadline(time.Time) error      { return nil }
func (c *podConn) SetReadDeadline(time.Time) error  { return nil }
func (c *podConn) SetWriteDeadline(time.Time) error { return nil }
