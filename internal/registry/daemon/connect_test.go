package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// socket is that of the real daemon.
func socket(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(clustertest.Docker(t))
	if err != nil || u.Scheme != "unix" {
		t.Fatalf("the test daemon is not on a unix socket: %v, %v", u, err)
	}
	return u.Path
}

// proxy hands on connections to the real daemon.
func proxy(t *testing.T, listener net.Listener) {
	t.Helper()
	target := socket(t)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go join(conn, target)
		}
	}()
}

func join(conn net.Conn, target string) {
	defer conn.Close()
	to, err := net.Dial("unix", target)
	if err != nil {
		return
	}
	defer to.Close()
	var group sync.WaitGroup
	group.Go(func() { _, _ = io.Copy(to, conn); to.Close() })
	_, _ = io.Copy(conn, to)
	conn.Close()
	group.Wait()
}

// speaks uses the connection for a request and for an upgrade.
func speaks(t *testing.T, env func(string) string) {
	t.Helper()
	c, err := Connect(t.Context(), env)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	if c.Builder != "2" && c.Builder != "1" && c.Builder != "" {
		t.Errorf("prefers the builder %q", c.Builder)
	}
	if _, err := c.Image(t.Context(), "harmony-test/nothing:here"); !IsNotFound(err) {
		t.Errorf("no such image: %v", err)
	}
	if _, err := c.Upgrade(t.Context(), "/nothing", "h2c", nil); !IsNotFound(err) {
		t.Errorf("no such endpoint: %v", err)
	}
	conn, err := c.Upgrade(t.Context(), "/grpc", "h2c", nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil && !strings.HasPrefix(c.endpoint.Address, "ssh") {
		t.Error(err)
	}
	// An HTTP/2 client begins with this, the server with its settings.
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		t.Error(err)
	}
	frame := make([]byte, 9)
	if _, err := io.ReadFull(conn, frame); err != nil || frame[3] != 4 {
		t.Errorf("first frame is %v, %v", frame, err)
	}
}

func TestConnectUnix(t *testing.T) { speaks(t, variables("DOCKER_HOST", "unix://"+socket(t))) }

func TestConnectTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy(t, listener)
	speaks(t, variables("DOCKER_HOST", "tcp://"+listener.Addr().String()))
}

func TestConnectTLS(t *testing.T) {
	files, server := certificates(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	proxy(t, listener)
	host := "tcp://" + listener.Addr().String()
	speaks(t, variables("DOCKER_HOST", host, "DOCKER_TLS_VERIFY", "1", "DOCKER_CERT_PATH", files))

	config := t.TempDir()
	copied := addContext(t, config, "secure", host)
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		data, err := os.ReadFile(filepath.Join(files, name))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(copied, name), string(data))
	}
	put(t, filepath.Join(config, "config.json"), `{"currentContext":"secure"}`)
	speaks(t, variables("DOCKER_CONFIG", config))

	stranger, _ := certificates(t)
	anonymous := t.TempDir()
	ca, err := os.ReadFile(filepath.Join(files, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(anonymous, "ca.pem"), string(ca))
	for dir, want := range map[string]string{stranger: "unknown authority", anonymous: "certificate required"} {
		_, err := Connect(t.Context(), variables("DOCKER_HOST", host, "DOCKER_TLS_VERIFY", "1", "DOCKER_CERT_PATH", dir))
		if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// certificates makes those of a client, in a folder, and of a server that wants
// them.
func certificates(t *testing.T) (dir string, server *tls.Config) {
	t.Helper()
	dir = t.TempDir()
	ca, caKey := certificate(t, nil, nil)
	leaf, key := certificate(t, ca, caKey)
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})))
	put(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})))
	put(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded})))
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return dir, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
		ClientCAs:    pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}
}

func certificate(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "harmony test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: parent == nil,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}

// A stand-in for ssh notes its arguments and joins its streams to the socket.
func TestConnectSSH(t *testing.T) {
	target, dir := socket(t), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$*\" >>%s/args\nHARMONY_TEST_JOIN=%s exec %s\n", dir, target, self)
	put(t, filepath.Join(dir, "ssh"), script)
	if err := os.Chmod(filepath.Join(dir, "ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	speaks(t, variables("DOCKER_HOST", "ssh://me@build.example.com:2222"))
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	if err != nil {
		t.Fatal(err)
	}
	if first, _, _ := strings.Cut(string(args), "\n"); first != "-l me -p 2222 -o ConnectTimeout=30 -T -- build.example.com docker system dial-stdio" {
		t.Errorf("ssh was run with %q", first)
	}
	put(t, filepath.Join(dir, "ssh"), "#!/bin/sh\necho 'no route to build.example.com' >&2\nexit 255\n")
	_, err = Connect(t.Context(), variables("DOCKER_HOST", "ssh://build.example.com"))
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "no route to build.example.com") {
		t.Errorf("got %v", err)
	}
}

// TestMain is the stand-in's end as well.
func TestMain(m *testing.M) {
	if target := os.Getenv("HARMONY_TEST_JOIN"); target != "" {
		os.Exit(joinStreams(target))
	}
	os.Exit(m.Run())
}

func joinStreams(target string) int {
	to, err := net.Dial("unix", target)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		_, _ = io.Copy(to, os.Stdin)
		_ = to.(*net.UnixConn).CloseWrite()
	}()
	_, _ = io.Copy(os.Stdout, to)
	return 0
}

func TestConnectTellsWhatWasTried(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	silent, err := net.Listen("unix", filepath.Join(dir, "silent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for host, want := range map[string]string{
		"unix://" + dead:       "nothing listens there",
		"unix:///nowhere.sock": "no such socket",
		"tcp://127.0.0.1:1":    "nothing listens there",
	} {
		_, err := Connect(t.Context(), variables("DOCKER_HOST", host))
		if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), host+" of DOCKER_HOST: "+want) || protocol.HintOf(err) == "" {
			t.Errorf("%s: status %d, %v", host, protocol.ExitCode(err), err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Connect(ctx, variables("DOCKER_HOST", "unix://"+filepath.Join(dir, "silent.sock"))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent: %v", err)
	}
}

// Without a variable the first of the usual sockets that answers is taken.
func TestConnectFindsPodman(t *testing.T) {
	if _, err := os.Stat(dockerSocket); err == nil {
		t.Skip("a daemon is on " + dockerSocket)
	}
	session := t.TempDir()
	if err := os.Mkdir(filepath.Join(session, "podman"), 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(session, "podman/podman.sock"))
	if err != nil {
		t.Fatal(err)
	}
	proxy(t, listener)
	speaks(t, variables("HOME", session, "XDG_RUNTIME_DIR", session))
}
