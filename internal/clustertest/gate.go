package clustertest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Gate is a TCP proxy to the cluster's API server that can be shut, to play an
// outage of the server for one client.
type Gate struct {
	// URL is what a client calls instead of the server's own, and ServerName the
	// name in the server's certificate.
	URL, ServerName string

	listener net.Listener
	server   string

	mu    sync.Mutex
	shut  bool
	conns []net.Conn
}

// Gate opens a gate. It is closed at the end of the test.
func (c Cluster) Gate(t testing.TB) *Gate {
	t.Helper()
	server, err := url.Parse(c.Rest.Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{
		URL: "https://" + listener.Addr().String(), ServerName: server.Hostname(),
		listener: listener, server: server.Host,
	}
	t.Cleanup(func() {
		listener.Close()
		g.Shut()
	})
	go g.serve()
	return g
}

// Shut cuts what goes through the gate, and lets nothing more through.
func (g *Gate) Shut() { g.set(true) }

// Open lets connections through again.
func (g *Gate) Open() { g.set(false) }

func (g *Gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

func (g *Gate) serve() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return
		}
		go g.join(client)
	}
}

func (g *Gate) join(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", g.server)
	if err != nil {
		return
	}
	defer server.Close()
	if !g.admit(client, server) {
		return
	}
	go io.Copy(server, client)
	io.Copy(client, server)
}

func (g *Gate) admit(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.conns = append(g.conns, conns...)
	}
	return !g.shut
}
