package silence

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// A server may be slow, but not silent: before its answer, or in it.
func TestSilence(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/never":
			<-release
		case "/stops":
			_, _ = io.WriteString(w, "some")
			w.(http.Flusher).Flush()
			<-release
		case "/slow": // longer than the limit in all
			for range 8 {
				_, _ = io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				time.Sleep(50 * time.Millisecond)
			}
		case "/works": // on what it was sent
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(400 * time.Millisecond)
		}
	}))
	defer server.Close()
	defer close(release)
	client := http.Client{Transport: Transport{Inner: server.Client().Transport, Limit: 300 * time.Millisecond}}
	for path, silent := range map[string]bool{"/never": true, "/stops": true, "/slow": false, "/works": false} {
		method := http.MethodGet
		if path == "/works" {
			method = http.MethodPut
		}
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		if told := protocol.ExitCode(err) == protocol.ExitRetryable && strings.Contains(err.Error(), "no data received from 127.0.0.1"); err != nil != silent || told != silent {
			t.Errorf("%s: got %v, silent %t", path, err, silent)
		}
	}
}
