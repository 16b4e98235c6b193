package file

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/internal/clustertest/charts"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestFetchFromPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.tgz")
	if err := os.WriteFile(path, []byte("archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("archive"))
	digest := "sha256:" + hex.EncodeToString(sum[:])
	if got, err := Fetch(t.Context(), protocol.ChartRef{Path: path, Digest: digest}); err != nil || string(got) != "archive" {
		t.Errorf("archive %q, error %v", got, err)
	}
	for name, ref := range map[string]protocol.ChartRef{
		"another digest": {Path: path, Digest: "sha256:" + strings.Repeat("0", 64)},
		"no file":        {Path: path + "x", Digest: digest},
	} {
		if _, err := Fetch(t.Context(), ref); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("%s: error %v, want invalid input", name, err)
		}
	}
}

// push puts layers into a registry as a chart and returns its manifest's digest.
func push(t *testing.T, host string, layers ...v1.Layer) string {
	t.Helper()
	return charts.Push(t, host+"/charts/app:1.0.0", layers...)
}

func TestFetchFromRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	archive := static.NewLayer([]byte("archive"), Layer)
	provenance := static.NewLayer([]byte("signed"), "application/vnd.cncf.helm.chart.provenance.v1.prov")
	other := static.NewLayer([]byte("x"), types.OCILayer)
	absent := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		name   string
		url    string
		digest string
		code   int
	}{
		{"chart", "oci://" + host + "/charts/app", push(t, host, archive), protocol.ExitOK},
		{"with provenance", "oci://" + host + "/charts/app", push(t, host, archive, provenance), protocol.ExitOK},
		{"no chart", "oci://" + host + "/charts/app", push(t, host, other), protocol.ExitInvalid},
		{"two charts", "oci://" + host + "/charts/app", push(t, host, archive, static.NewLayer([]byte("2"), Layer)), protocol.ExitInvalid},
		{"absent", "oci://" + host + "/charts/app", absent, protocol.ExitFailed},
		{"no OCI URL", "https://" + host + "/charts/app", absent, protocol.ExitInvalid},
		{"no digest", "oci://" + host + "/charts/app", "latest", protocol.ExitInvalid},
		{"nothing listens", "oci://127.0.0.1:1/charts/app", absent, protocol.ExitRetryable},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Fetch(t.Context(), protocol.ChartRef{URL: c.url, Digest: c.digest})
			if protocol.ExitCode(err) != c.code {
				t.Errorf("error %v with exit code %d, want %d", err, protocol.ExitCode(err), c.code)
			}
			if err == nil && string(got) != "archive" {
				t.Errorf("archive %q", got)
			}
		})
	}
}

func TestFetchThatIsTooLarge(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	digest := push(t, host, static.NewLayer(make([]byte, MaxArchive+1), Layer))
	_, err := Fetch(t.Context(), protocol.ChartRef{URL: "oci://" + host + "/charts/app", Digest: digest})
	if err == nil || !strings.Contains(err.Error(), "20 MiB") {
		t.Errorf("error %v, want one that tells the limit", err)
	}
}

func TestFetchThatWasTamperedWith(t *testing.T) {
	inner := registry.New()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			w.Write([]byte("another"))
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	digest := push(t, host, static.NewLayer([]byte("archive"), Layer))
	if got, err := Fetch(t.Context(), protocol.ChartRef{URL: "oci://" + host + "/charts/app", Digest: digest}); err == nil {
		t.Errorf("%q was taken for the chart", got)
	}
}
