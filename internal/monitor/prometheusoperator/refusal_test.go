package prometheusoperator

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// kubeconfig is that of a server, as context test.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{apiVersion: v1, kind: Config, current-context: test,
clusters: [{name: test, cluster: {server: "` + server + `"}}],
users: [{name: test, user: {}}],
contexts: [{name: test, context: {cluster: test, user: test}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// open makes the adapter for a topology with the target staging, a namespace.
func open(t *testing.T, kubeconfig, namespace string, dryRun bool) capability.Monitoring {
	t.Helper()
	flags := &conn.Flags{Kubeconfig: kubeconfig}
	monitoring, err := New(flags)(t.Context(), capability.Environment{
		Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}, Targets: map[string]protocol.Target{
			"staging": {InCluster: &protocol.InCluster{Namespace: namespace}},
		}},
		DryRun: dryRun, Progress: func(protocol.Event) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return monitoring
}

// A cluster without the operator's definitions is told as such, unless the app
// asks for nothing: then nothing is there to be removed.
func TestNotInstalled(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler()) // as an API server answers for a kind it does not know
	defer server.Close()
	monitoring := open(t, kubeconfig(t, server.URL), "fleet", false)
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop"}, Monitoring: &protocol.Monitoring{Metrics: &protocol.Metrics{Port: "http"}}}
	_, err := monitoring.Monitor(t.Context(), app, "staging")
	if protocol.ExitCode(err) != protocol.ExitUnsupported || protocol.HintOf(err) == "" ||
		!strings.Contains(err.Error(), `the cluster of context "test" has no Prometheus operator: it does not serve servicemonitors of monitoring.coreos.com/v1`) {
		t.Errorf("got %v", err)
	}
	app.Monitoring = nil
	result, err := monitoring.Monitor(t.Context(), app, "staging")
	if err != nil || !result.Unchanged || result.Summary != "nothing to watch" {
		t.Errorf("got %+v, %v", result, err)
	}
}

// A server that is away, or busy, is a passing reason.
func TestRetryable(t *testing.T) {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer busy.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, server := range []string{busy.URL, gone.URL} {
		_, err := open(t, kubeconfig(t, server), "fleet", false).Monitor(t.Context(), protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop"}}, "staging")
		if protocol.ExitCode(err) != protocol.ExitRetryable {
			t.Errorf("got %v", err)
		}
	}
}

// Clusters that fail are reported by name, with the worst status.
func TestWorst(t *testing.T) {
	clusters := []conn.Cluster{{Name: "eu"}, {Name: "ap"}, {Name: "us"}}
	if err := worst(clusters, []error{nil, nil, nil}); err != nil {
		t.Error(err)
	}
	err := worst(clusters, []error{protocol.Retryable("away"), nil, protocol.Unsupported("bare").WithHint("install it")})
	if protocol.ExitCode(err) != protocol.ExitUnsupported || protocol.HintOf(err) != "install it" || err.Error() != "cluster eu: away\ncluster us: bare" {
		t.Errorf("got %v, hint %q", err, protocol.HintOf(err))
	}
}

func TestUnknownTarget(t *testing.T) {
	_, err := open(t, kubeconfig(t, "http://127.0.0.1:1"), "fleet", false).Monitor(t.Context(), protocol.AppSpec{}, "production")
	if protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("got %v", err)
	}
}
