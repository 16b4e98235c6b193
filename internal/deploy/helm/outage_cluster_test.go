package helm

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/kubeconn"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// gate is a TCP proxy to the API server that can be shut.
type gate struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	shut  bool
	conns []net.Conn
}

func newGate(t *testing.T, server string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: listener, server: server}
	t.Cleanup(func() {
		listener.Close()
		g.set(true)
	})
	go g.serve()
	return g
}

func (g *gate) serve() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return
		}
		go g.join(client)
	}
}

func (g *gate) join(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", g.server)
	if err != nil {
		return
	}
	defer server.Close()
	g.mu.Lock()
	if g.shut {
		g.mu.Unlock()
		return
	}
	g.conns = append(g.conns, client, server)
	g.mu.Unlock()
	go io.Copy(server, client)
	io.Copy(client, server)
}

// set shuts the gate, which cuts what goes through it, or opens it.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

// through is the adapter behind a gate.
func (w *world) through(g *gate) capability.ContinuousDelivery {
	w.t.Helper()
	server, err := url.Parse(w.cluster.Rest.Host)
	if err != nil {
		w.t.Fatal(err)
	}
	flags := &kubeconn.Flags{
		Kubeconfig: w.cluster.Kubeconfig, Server: "https://" + g.listener.Addr().String(), ServerName: server.Hostname(),
	}
	return w.adapterWith(flags)
}

func TestRolloutSurvivesAnOutage(t *testing.T) {
	w := newWorld(t)
	server, err := url.Parse(w.cluster.Rest.Host)
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, server.Host)
	// Ready only after the outage.
	w.replaceTemplate("path: /}", "path: /}, initialDelaySeconds: 12")
	var once sync.Once
	w.on = func(e protocol.Event) {
		if e.Phase == "rollout" {
			once.Do(func() {
				g.set(true)
				time.AfterFunc(10*time.Second, func() { g.set(false) })
			})
		}
	}
	a := w.through(g)
	chart := w.pack()
	result, err := a.Deploy(t.Context(), w.spec(), "test", w.image, chart)
	if err != nil {
		t.Fatal(err)
	}
	once.Do(func() { t.Error("there was no outage") })
	if result.Outcome != protocol.OutcomeInstalled {
		t.Errorf("outcome %s, want installed", result.Outcome)
	}
	w.noLease()
}

func TestUnreachableServer(t *testing.T) {
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	a := w.adapterWith(&kubeconn.Flags{Kubeconfig: w.cluster.Kubeconfig, Server: "https://" + address})
	_, err = a.Deploy(t.Context(), w.spec(), "test", w.image, w.pack())
	t.Logf("%v", err)
	if protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("exit code %d, want %d", protocol.ExitCode(err), protocol.ExitRetryable)
	}
}
