package daemonless

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestDownload(t *testing.T) {
	const content = "downloaded\n"
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/file":
			_, _ = io.WriteString(w, content)
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, content)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	sum := digest.FromString(content).String()
	add := func(path, sum string) string {
		return "FROM scratch\nARG SUM=" + sum + "\nADD --checksum=$SUM " + server.URL + path + " /x/"
	}
	for name, test := range map[string]struct {
		path, sum string
		code      int
		want      string
	}{
		"another content": {"/file", digest.FromString("other").String(), 2, "/file is " + sum + ", not sha256:"},
		"not there":       {"/nope?token=secret", sum, 2, "/nope: 404"},
		"busy":            {"/busy", sum, 4, "/busy: 503"},
		"cut off":         {"/cut", sum, 4, "/cut: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newBuilder(t).BuildImage(t.Context(), project(t, add(test.path, test.sum), nil))
			if err == nil || protocol.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "Dockerfile:3: ") {
				t.Errorf("status %d, %v; want %d, %q", protocol.ExitCode(err), err, test.code, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("a query is told: %v", err)
			}
		})
	}
	b, before := newBuilder(t), asked.Load()
	_, image := mustBuild(t, b, project(t, add("/file", sum), nil))
	if got, want := list(t, image), "d 0755 0:0 x\n- 0600 0:0 x/file downloaded"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	other := project(t, add("/file", sum)+"\nLABEL a=b", nil)
	if _, _ = mustBuild(t, newBuilderAt(t, b.cache), other); asked.Load() != before+1 {
		t.Errorf("downloaded %d times, want once", asked.Load()-before)
	}
	server.Close()
	_, err := newBuilder(t).BuildImage(t.Context(), other)
	if protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("without the server: status %d, %v", protocol.ExitCode(err), err)
	}
}
