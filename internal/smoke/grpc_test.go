package smoke

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// healthServer is a real gRPC server, with its health if states is set.
func healthServer(t *testing.T, states *health.Server, options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	if states != nil {
		grpc_health_v1.RegisterHealthServer(server, states)
	}
	go server.Serve(listener) //nolint:errcheck // ended below
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func TestGRPC(t *testing.T) {
	states := health.NewServer()
	states.SetServingStatus("orders", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	states.SetServingStatus("lost", grpc_health_v1.HealthCheckResponse_UNKNOWN)
	secure := httptest.NewUnstartedServer(nil)
	secure.StartTLS() // for its certificate
	defer secure.Close()
	root := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(root, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	plain, bare := healthServer(t, states), healthServer(t, nil)
	hidden := healthServer(t, states, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: secure.TLS.Certificates})))
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	trusted := &protocol.TLSConfig{CAFile: "ca.pem", ServerName: "example.com"}

	for name, c := range map[string]struct {
		check protocol.GRPCCheck
		want  string
		ok    bool
	}{
		"server":              {protocol.GRPCCheck{Address: plain}, "the server is SERVING", true},
		"service":             {protocol.GRPCCheck{Address: plain, Health: "orders"}, "orders is NOT_SERVING, expected SERVING", false},
		"unknown":             {protocol.GRPCCheck{Address: plain, Health: "lost"}, "lost is UNKNOWN", false},
		"no service":          {protocol.GRPCCheck{Address: plain, Health: "books"}, "does not know the service books", false},
		"no health":           {protocol.GRPCCheck{Address: bare}, "does not implement the gRPC health checking protocol", false},
		"TLS":                 {protocol.GRPCCheck{Address: hidden, TLS: trusted}, "the server is SERVING", true},
		"TLS of a stranger":   {protocol.GRPCCheck{Address: hidden, TLS: &protocol.TLSConfig{}}, "certificate signed by unknown authority", false},
		"TLS is expected":     {protocol.GRPCCheck{Address: hidden}, hidden, false},
		"TLS is not expected": {protocol.GRPCCheck{Address: plain, TLS: trusted}, plain, false},
		"HTTP/1":              {protocol.GRPCCheck{Address: strings.TrimPrefix(web.URL, "http://")}, "127.0.0.1", false},
		"nobody":              {protocol.GRPCCheck{Address: "127.0.0.1:1"}, "connection refused", false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newGRPCProbe(root, c.check, nil)
			if err != nil {
				t.Fatal(err)
			}
			seen, err := p.attempt(t.Context())
			if c.ok && (err != nil || !strings.Contains(seen, c.want)) || !c.ok && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%q, %v; want %q", seen, err, c.want)
			}
		})
	}
}

func FuzzServing(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 8, 1})
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 3, 10, 1, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		if status, err := serving(body); (status == "") == (err == nil) {
			t.Errorf("%q, %v", status, err)
		}
	})
}
