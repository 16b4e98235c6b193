package argocd

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

// A cluster without Argo CD knows no Applications.
func TestClusterWithoutArgo(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	path := filepath.Join(t.TempDir(), "config")
	config := `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "` + server.URL + `"}}],
contexts: [{name: c, context: {cluster: c, user: c}}], users: [{name: c, user: {}}]}`
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	adapter, err := New(&conn.Flags{Kubeconfig: path})(t.Context(), capability.Environment{
		Topology: protocol.Topology{
			Metadata: protocol.Metadata{Name: "production"},
			Targets:  map[string]protocol.Target{"staging": {InCluster: &protocol.InCluster{Namespace: "fleet"}}},
		},
		Progress: func(protocol.Event) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "app", Version: "1.0.0"}}
	image := protocol.ImageRef{Registry: "registry", Repository: "app", Digest: digest("b")}
	_, err = adapter.Deploy(t.Context(), app, "staging", image, protocol.ChartRef{URL: "oci://registry/charts/app", Digest: digest("a")})
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "does not know the kind Application") {
		t.Errorf("%v: exit code %d, want %d", err, protocol.ExitCode(err), protocol.ExitUnsupported)
	}
}
