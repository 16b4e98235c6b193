package smoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	portforwardapi "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The node reports a refusal only, right after it took the streams, and never a
// success. So it is asked for a second port too, one that nothing listens on:
// a connection has been accepted when that port's refusal is here, and ours did
// not come in as much time again (minHeld at least). Where even the second port
// is open, it has been when no refusal came for patience times as long as the
// node took to take the streams.
const (
	closedPort = 1 // tcpmux, RFC 1078
	minHeld    = 10 * time.Millisecond
	patience   = 20
	minPatient = 50 * time.Millisecond
)

type tcpProbe struct {
	check   protocol.TCPCheck
	cluster *cluster
}

func (p tcpProbe) attempt(ctx context.Context) (string, error) {
	if p.check.Address != "" {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", p.check.Address)
		if err != nil {
			return "", err
		}
		return "connected to " + p.check.Address, conn.Close()
	}
	service, err := p.cluster.service(ctx, p.check.Service)
	if err != nil {
		return "", err
	}
	port, err := portOf(service, p.check.Port)
	if err != nil {
		return "", err
	}
	pods, err := p.cluster.readyPods(ctx, p.check.Service, port)
	if err != nil {
		return "", err
	}
	if err := p.cluster.knock(ctx, pods[0]); err != nil {
		return "", fmt.Errorf("service %s: %s: %w", p.check.Service, pods[0], err)
	}
	return fmt.Sprintf("service %s: connected to %s", p.check.Service, pods[0]), nil
}

// knock opens a connection to a pod through the API server, as kubectl
// port-forward does, and is nil when the pod accepted it.
func (c *cluster) knock(ctx context.Context, to podPort) error {
	conn, err := c.forward(ctx, to.pod)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // ends every read below
	start := time.Now()
	opened, answer := ask(conn, to.port, "0")
	var refused <-chan error
	var over <-chan time.Time
	for {
		select {
		case <-opened:
			opened = nil
			over = time.After(max(minPatient, patience*time.Since(start)))
			_, refused = ask(conn, closedPort, "1")
		case err := <-refused:
			if refused = nil; err != nil {
				over = time.After(max(minHeld, time.Since(start)))
			}
		case err := <-answer:
			return errors.Join(ctx.Err(), err)
		case <-over:
			select {
			case err := <-answer: // both were ready
				return err
			default:
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ask has the node connect to the port; id tells the requests of a connection
// apart. opened is closed when the node has taken the streams; answer gets the
// refusal, or nil when the connection was open and is closed again.
func ask(conn httpstream.Connection, port int, id string) (opened <-chan struct{}, answer <-chan error) {
	taken, end := make(chan struct{}), make(chan error, 1)
	go func() {
		refused, data, err := openStreams(conn, port, id)
		if err == nil {
			err = errors.Join(refused.Close(), data.Close()) // our direction only
		}
		if err != nil {
			end <- fmt.Errorf("open the connection: %w", err)
			return
		}
		close(taken)
		go func() { _, _ = io.Copy(io.Discard, data) }() // what the app sends would hold the errors back
		end <- refusalOf(refused)
	}()
	return taken, end
}

func (c *cluster) forward(ctx context.Context, pod string) (httpstream.Connection, error) {
	address := fmt.Sprintf("%s/api/v1/namespaces/%s/pods/%s/portforward", c.server, c.Namespace, pod)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	transport, holder, err := websocket.RoundTripperFor(c.Config)
	if err != nil {
		return nil, err
	}
	conn, err := websocket.Negotiate(transport, holder, req, portforwardapi.WebsocketsSPDYTunnelingPortForwardV1)
	if err != nil {
		return nil, c.upgradeError(err)
	}
	return spdy.NewClientConnection(portforward.NewTunnelingConnection("smoke", conn))
}

// upgradeError is what the API server said to the request for a connection.
func (c *cluster) upgradeError(err error) error {
	var upgrade *httpstream.UpgradeFailureError
	if !errors.As(err, &upgrade) {
		return c.unreachable(err)
	}
	if apierrors.IsForbidden(upgrade.Cause) || apierrors.IsUnauthorized(upgrade.Cause) {
		return newBlocked(c.Explain(upgrade.Cause))
	}
	return fmt.Errorf("API server: %w", upgrade.Cause)
}

// openStreams asks the node for a connection to the port: one stream carries
// errors, the other data.
func openStreams(conn httpstream.Connection, port int, id string) (refused, data httpstream.Stream, err error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, id)
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	if refused, err = conn.CreateStream(headers); err != nil {
		return nil, nil, err
	}
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err = conn.CreateStream(headers)
	return refused, data, err
}

// refusalOf reads the error that the node reports; its end without one means
// that the connection was open and is closed again.
func refusalOf(stream io.Reader) error {
	message, err := io.ReadAll(io.LimitReader(stream, maxBody))
	if err != nil {
		return fmt.Errorf("the connection through the API server broke: %w", err)
	}
	if len(message) == 0 {
		return nil
	}
	// The node names its own sandbox and pod before the reason.
	text := string(message)
	if i := strings.Index(text, "dial tcp"); i >= 0 {
		text = text[i:]
	}
	return errors.New(term.Excerpt(text, maxExcerpt))
}

// errNoPod is the error of a service without pods.
var errNoPod = errors.New("no ready pod")

// service reads a Service, which has at least one port.
func (c *cluster) service(ctx context.Context, name string) (s corev1.Service, err error) {
	err = c.get(ctx, "api/v1", "services/"+name, nil, &s)
	switch {
	case apierrors.IsNotFound(err):
		return s, fmt.Errorf("no service %s in namespace %s", name, c.Namespace)
	case err == nil && len(s.Spec.Ports) == 0:
		return s, fmt.Errorf("service %s has no port", name)
	}
	return s, err
}

func portOf(s corev1.Service, number int) (corev1.ServicePort, error) {
	i := slices.IndexFunc(s.Spec.Ports, func(p corev1.ServicePort) bool {
		return number == 0 || int(p.Port) == number && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP)
	})
	if i < 0 {
		return corev1.ServicePort{}, fmt.Errorf("service %s has no TCP port %d", s.Name, number)
	}
	return s.Spec.Ports[i], nil
}

type podPort struct {
	pod  string
	port int
}

func (p podPort) String() string { return fmt.Sprintf("pod %s, port %d", p.pod, p.port) }

// readyPods are the pods behind a port of a service, in order.
func (c *cluster) readyPods(ctx context.Context, name string, port corev1.ServicePort) ([]podPort, error) {
	var found discoveryv1.EndpointSliceList
	query := url.Values{"labelSelector": {"kubernetes.io/service-name=" + name}}
	if err := c.get(ctx, "apis/discovery.k8s.io/v1", "endpointslices", query, &found); err != nil {
		return nil, err
	}
	var pods []podPort
	for _, item := range found.Items {
		for _, p := range item.Ports {
			if p.Name == nil || *p.Name != port.Name || p.Port == nil { // a Service has both set
				continue
			}
			for _, e := range item.Endpoints {
				// An absent condition means unknown, which counts as ready.
				if e.TargetRef != nil && e.TargetRef.Kind == "Pod" && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
					pods = append(pods, podPort{e.TargetRef.Name, int(*p.Port)})
				}
			}
		}
	}
	if len(pods) == 0 {
		return nil, fmt.Errorf("%w behind service %s", errNoPod, name)
	}
	slices.SortFunc(pods, func(a, b podPort) int { return strings.Compare(a.pod, b.pod) })
	return slices.Compact(pods), nil
}
