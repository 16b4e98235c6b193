package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"slices"
	"testing"
)

// A server with the API server's certificate and a client with the
// administrator's must accept each other.
func TestPKI(t *testing.T) {
	c := cluster{name: "harmony-test", state: t.TempDir(), out: t.Output()}
	if err := c.writePKI(); err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(c.path("pki", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	pair := func(name string) []tls.Certificate {
		cert, err := tls.LoadX509KeyPair(c.path("pki", name+".crt"), c.path("pki", name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{cert}
	}
	near, far := net.Pipe()
	server := tls.Server(far, &tls.Config{Certificates: pair("apiserver"), ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
	failed := make(chan error, 1)
	go func() { failed <- server.Handshake() }()
	client := tls.Client(near, &tls.Config{Certificates: pair("admin"), RootCAs: pool, ServerName: c.nodeIP()})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	subject := server.ConnectionState().PeerCertificates[0].Subject
	if subject.CommonName != "kubernetes-admin" || !slices.Contains(subject.Organization, "system:masters") {
		t.Errorf("client is %v", subject)
	}
}

func TestPKIIsMadeOnceAndKeptSecret(t *testing.T) {
	c := cluster{name: "harmony-test", state: t.TempDir(), out: t.Output()}
	if err := os.MkdirAll(c.path("pki.draft", "left by a run that was killed"), 0o700); err != nil {
		t.Fatal(err)
	}
	var keys [2]string
	for i := range keys {
		if err := c.writePKI(); err != nil {
			t.Fatal(err)
		}
		key, err := os.ReadFile(c.path("pki", "ca.key"))
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = string(key)
	}
	if keys[0] != keys[1] {
		t.Error("a second run made new keys")
	}
	info, err := os.Stat(c.path("pki", "ca.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
