package oci

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/distribution/distribution/v3/registry/handlers"
	"golang.org/x/crypto/bcrypt"

	"github.com/nationtech/harmony/test/faultproxy"
)

const (
	user     = "robot$fleet+ci"
	password = "s3cr3t-of-the-test"
)

// front is a fault proxy before a registry.
type front struct {
	*faultproxy.Proxy
	host string
	// through is the way to it.
	through http.RoundTripper
	// bearer is true for a registry that gives out tokens.
	bearer bool
}

func newFront(t testing.TB, upstream string, inner http.RoundTripper, secure bool) *front {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{Proxy: faultproxy.New(u, inner)}
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = quiet
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	f.host = server.Listener.Addr().String()
	f.through = server.Client().Transport
	return f
}

// certificate is one for the loopback, in PEM files.
func certificate(t testing.TB) (certFile, keyFile string, key *ecdsa.PrivateKey, der []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true,
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, key, der
}

// basicRegistry is distribution 2.8 with TLS and basic authentication, behind a
// proxy with TLS.
func basicRegistry(t testing.TB) *front {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed")
	}
	certFile, keyFile, _, _ := certificate(t)
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/htpasswd", []byte(user+":"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	listener.Close()
	config := fmt.Sprintf(`version: 0.1
storage: {filesystem: {rootdirectory: %s}}
http: {addr: %q, tls: {certificate: %s, key: %s}}
auth: {htpasswd: {realm: test, path: %s}}
log: {level: error, accesslog: {disabled: true}}
`, dir, host, certFile, keyFile, dir+"/htpasswd")
	if err := os.WriteFile(dir+"/config.yml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", dir+"/config.yml")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	pool := x509.NewCertPool()
	text, err := os.ReadFile(certFile)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	inner := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	ready(t, inner, "https://"+host+"/v2/")
	return newFront(t, "https://"+host, inner, true)
}

func ready(t testing.TB, through http.RoundTripper, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := http.Client{Transport: through}
	for {
		if response, err := client.Get(url); err == nil {
			response.Body.Close()
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s does not answer", url)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tokens is a token service as the distribution project describes it: for the
// right password it signs what is asked for.
type tokens struct {
	key    *ecdsa.PrivateKey
	der    []byte
	issued atomic.Int64
}

func (s *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}`))
		return
	}
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	granted := []access{}
	for _, scope := range r.URL.Query()["scope"] {
		parts := strings.Split(scope, ":")
		if len(parts) == 3 && !strings.HasPrefix(parts[1], "forbidden/") {
			granted = append(granted, access{parts[0], parts[1], strings.Split(parts[2], ",")})
		}
	}
	now := time.Now()
	claims := map[string]any{
		"iss": "test", "aud": r.URL.Query().Get("service"), "sub": user, "access": granted,
		"exp": now.Add(time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(),
		"jti": fmt.Sprint(s.issued.Add(1)),
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"token": s.sign(claims)})
}

func (s *tokens) sign(claims any) string {
	part := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	header := map[string]any{"alg": "ES256", "typ": "JWT", "x5c": []string{base64.StdEncoding.EncodeToString(s.der)}}
	text := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	x, y, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 64)
	x.FillBytes(signature[:32])
	y.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// tokenRegistry is distribution 3 with tokens, behind a proxy without TLS.
func tokenRegistry(t testing.TB) *front {
	t.Helper()
	certFile, _, key, der := certificate(t)
	service := &tokens{key: key, der: der}
	mux := http.NewServeMux()
	mux.Handle("/token", service)
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = quiet
	server.Start()
	t.Cleanup(server.Close)
	f := newFront(t, server.URL, nil, false)
	f.bearer = true
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	c := &configuration.Configuration{
		Storage: configuration.Storage{"filesystem": configuration.Parameters{"rootdirectory": t.TempDir()}},
		Auth: configuration.Auth{"token": configuration.Parameters{
			"realm": "http://" + f.host + "/token", "service": "registry", "issuer": "test", "rootcertbundle": certFile,
		}},
	}
	c.Log.AccessLog.Disabled = true
	c.Log.Level = "panic"
	c.Catalog.MaxEntries = 1000
	mux.Handle("/", handlers.NewApp(ctx, c))
	return f
}

// loggedIn gives the test the credentials of a registry.
func loggedIn(t testing.TB, host string) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HARMONY_REGISTRY", host)
	t.Setenv("HARMONY_REGISTRY_USERNAME", user)
	t.Setenv("HARMONY_REGISTRY_PASSWORD", password)
}
