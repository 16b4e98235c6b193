package test

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// network stands for all hosts but this one: it is the proxy that requests to
// them go through. Those by plain http are answered, and counted. Https ends at
// a certificate that nobody trusts, or at once for hosts that end in 9.
type network struct {
	mu             sync.Mutex
	plain, tunnels []string
	secure         string
}

func newNetwork(t *testing.T) (n *network, address string) {
	t.Helper()
	n = &network{}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	n.secure = secure.Listener.Addr().String()
	proxy := httptest.NewServer(n)
	t.Cleanup(proxy.Close)
	return n, proxy.URL
}

func (n *network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.Method != http.MethodConnect {
		n.plain = append(n.plain, fmt.Sprintf("%s %s auth=%s", r.Method, r.URL, r.Header.Get("Authorization")))
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	n.tunnels = append(n.tunnels, r.Host)
	host, _, _ := net.SplitHostPort(r.Host)
	server, err := net.Dial("tcp", n.secure)
	if err != nil || strings.HasSuffix(host, "9") {
		http.Error(w, "no way", http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	client, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		server.Close()
		return
	}
	go func() { defer server.Close(); _, _ = io.Copy(server, client) }()
	go func() { defer client.Close(); _, _ = io.Copy(client, server) }()
}

func (n *network) take() (plain, tunnels []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	plain, tunnels, n.plain, n.tunnels = n.plain, n.tunnels, nil, nil
	return plain, tunnels
}

const farProject = `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: far}
spec:
  image: {dockerfile: {path: Dockerfile}, platforms: [linux/amd64]}
  chart: {workload: {}}
  smoke: [{name: ready, rollout: {}, timeout: 2s}]
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: far}
spec:
  containerBuilder: {adapter: daemonless}
  ociRegistry: {adapter: oci, url: HOST/team}
  helmRegistry: {adapter: oci, url: HOST/charts}
  continuousDelivery: {adapter: helm}
  targets:
    kiosk: {edgeDevice: {device: kiosk-7, namespace: fleet}}
`

// speakNoPlainHTTP sees that no stage sends anything by plain http to a host that
// is not this one, whatever https says there: a password could be read on the
// way, and an image be exchanged.
func speakNoPlainHTTP(t *testing.T, bin string) {
	for _, host := range []string{"10.77.0.1", "192.168.7.9:5000", "reg.localhost:5000"} {
		for _, args := range []string{
			"build far --topology far --version 1.0.0", "publish far --topology far", "publish --check --topology far",
			"publish prune far --topology far --yes", "deploy --topology far --target kiosk", "deploy diff far --topology far --target kiosk --version 1.0.0",
			"deploy status far --topology far --target kiosk", "smoke --topology far --target kiosk",
			"plugin index add x oci://" + host + "/index:1",
		} {
			t.Run(host+" "+args, func(t *testing.T) {
				t.Parallel() // most of the time is spent waiting to try again
				speakNoPlainHTTPTo(t, host, bin, args)
			})
		}
	}
}

func speakNoPlainHTTPTo(t *testing.T, host, bin, args string) {
	n, proxy := newNetwork(t)
	folder := t.TempDir()
	for name, text := range map[string]string{
		"Dockerfile":   "FROM " + host + "/team/base:1\n",
		"harmony.yaml": strings.ReplaceAll(farProject, "HOST", host),
		"config.json":  fmt.Sprintf(`{"auths":{%q:{"username":"ci","password":"TOPSECRET"}}}`, host),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command, rest, _ := strings.Cut(args, " ")
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "harmony-"+command), strings.Fields(rest)...)
	cmd.Dir = folder
	cmd.Env = []string{"HOME=" + folder, "DOCKER_CONFIG=" + folder, "PATH=" + bin, "HTTP_PROXY=" + proxy, "HTTPS_PROXY=" + proxy}
	if fields := strings.Fields(rest); strings.HasPrefix(fields[0], "--topology") || args == "publish far --topology far" {
		cmd.Stdin = strings.NewReader(farStream(t, host, folder))
		cmd.Args = append(cmd.Args[:1], strings.Fields(strings.TrimPrefix(rest, "far "))...)
	}
	out, err := cmd.CombinedOutput()
	plain, tunnels := n.take()
	switch {
	case len(plain) > 0:
		t.Errorf("sent by plain http: %q", plain)
	case len(tunnels) == 0, err == nil && !strings.HasPrefix(args, "deploy status"):
		t.Errorf("this test looks for the wrong thing: asked %q, %v\n%s", tunnels, err, out)
	}
}

// farStream is what a deploy to a host's images and charts reads.
func farStream(t *testing.T, host, folder string) string {
	t.Helper()
	digest := "sha256:" + strings.Repeat("71d7", 16)
	about := protocol.Metadata{Name: "far", Version: "1.0.0"}
	app := protocol.AppSpec{Metadata: about, ProjectRoot: folder, Smoke: []protocol.SmokeCheck{{Name: "ready", Rollout: &protocol.RolloutCheck{}, Timeout: protocol.Duration(2 * time.Second)}}}
	app.Image.Dockerfile = &protocol.Dockerfile{Path: "Dockerfile"}
	app.Chart.Workload = &protocol.Workload{}
	var text strings.Builder
	for _, spec := range []protocol.Spec{
		app,
		protocol.ImageRef{Metadata: about, Registry: host, Repository: "team/far", Tag: "1.0.0", Digest: digest, Location: protocol.InRegistry},
		protocol.ChartRef{Metadata: about, URL: "oci://" + host + "/charts/far", Chart: "far", ChartVersion: "1.0.0", Digest: digest, Image: protocol.ImagePlaces{{Value: "image"}}},
	} {
		if err := protocol.NewWriter(&text).WriteSpec(spec); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}
