package collector

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/cluster/devices/devicestest"
	"github.com/nationtech/harmony/pkg/protocol"
)

var digest = "sha256:" + strings.Repeat("a", 64)

// served is a collector with its authority and registry.
type served struct {
	*devicestest.Authority
	t                 *testing.T
	address, registry string
	log               *locked
	stop              func() error
}

type locked struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *locked) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

func serve(t *testing.T, handler http.Handler) *served {
	t.Helper()
	storage := httptest.NewServer(handler)
	t.Cleanup(storage.Close)
	s := &served{Authority: devicestest.NewAuthority(t), t: t, registry: strings.TrimPrefix(storage.URL, "http://") + "/reports", log: &locked{}}
	own := s.Server()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = "https://" + listener.Addr().String()
	c := &Collector{Registry: s.registry, Apps: []string{"app"}, Log: s.log}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		ended <- c.Serve(ctx, listener, func() (*tls.Certificate, error) { return &own, nil }, s.Pool())
	}()
	s.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client is one with a certificate, or without.
func (s *served) client(certificates ...tls.Certificate) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Pool(), Certificates: certificates}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// send reports, and returns the status and the answer; -1 when TLS fails.
func (s *served) send(client *http.Client, path string, body io.Reader) (int, string) {
	s.t.Helper()
	request, err := http.NewRequest(http.MethodPut, s.address+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return -1, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// reported is what harmony reads of a device of the group shops.
func (s *served) reported(name string) protocol.DeviceReport {
	s.t.Helper()
	topology := protocol.Topology{Targets: map[string]protocol.Target{"t": {EdgeDevice: &protocol.EdgeDevice{
		Group: "shops", Registry: s.registry, Reports: &protocol.DeviceReports{Registry: s.registry, Devices: []string{name}},
	}}}}
	place, err := devices.Of(topology, "t", "app")
	if err != nil {
		s.t.Fatal(err)
	}
	progress, err := place.Progress(s.t.Context(), digest)
	if err != nil {
		s.t.Fatal(err)
	}
	return progress.Devices[0]
}

const good = `{"revision":"ring-1@DIGEST","state":"ready","message":"all\u001b[31m is\nwell","labels":"tier=canary"}`

func body(text string) io.Reader {
	return strings.NewReader(strings.ReplaceAll(text, "DIGEST", digest))
}

func TestReportIsStored(t *testing.T) {
	s := serve(t, registry.New())
	client := s.client(s.Device("shop-1", time.Now().Add(time.Hour), "shops"))
	if status, text := s.send(client, "/v1/groups/shops/app/shop-1", body(good)); status != http.StatusNoContent {
		t.Fatalf("status %d, %s", status, text)
	}
	got := s.reported("shop-1")
	if at, err := time.Parse(time.RFC3339, got.Time); err != nil || time.Since(at) > time.Minute {
		t.Errorf("its time is %s", got.Time)
	}
	if got.State != protocol.DeviceReady || got.Message != "all[31m is well" || got.Digest != digest {
		t.Errorf("stored as %+v", got)
	}
	if status, _ := s.send(client, "/v1/devices/shop-1/app", body(good)); status != http.StatusNoContent {
		t.Errorf("a device of its own: status %d", status)
	}
	if err := s.stop(); err != nil || !strings.HasSuffix(s.log.text(), "stopped\n") || !strings.Contains(s.log.text(), "shop-1: "+s.registry+"/groups/shops/app, ready on "+digest) {
		t.Errorf("%v; log:\n%s", err, s.log.text())
	}
}

// A device speaks for itself, in its group, and in few words.
func TestRefusedReports(t *testing.T) {
	s := serve(t, registry.New())
	hour := time.Now().Add(time.Hour)
	own := s.Device("shop-1", hour, "shops")
	other := devicestest.NewAuthority(t)
	for name, c := range map[string]struct {
		certificates []tls.Certificate
		path, body   string
		status       int
		words        string
	}{
		"no certificate":      {nil, "/v1/groups/shops/app/shop-1", good, -1, "certificate required"},
		"another authority":   {[]tls.Certificate{other.Device("shop-1", hour, "shops")}, "/v1/groups/shops/app/shop-1", good, -1, "certificate"},
		"expired":             {[]tls.Certificate{s.Device("shop-1", time.Now().Add(-time.Hour), "shops")}, "/v1/groups/shops/app/shop-1", good, -1, "expired"},
		"another device":      {[]tls.Certificate{own}, "/v1/groups/shops/app/shop-2", good, 403, `the certificate is that of "shop-1", not of shop-2`},
		"another group":       {[]tls.Certificate{own}, "/v1/groups/bars/app/shop-1", good, 403, `names the groups ["shops"]`},
		"another app":         {[]tls.Certificate{own}, "/v1/groups/shops/other/shop-1", good, 403, "no reports on other"},
		"no name":             {[]tls.Certificate{own}, "/v1/groups/shops/app/Shop%2F1", good, 400, "lower-case"},
		"elsewhere":           {[]tls.Certificate{own}, "/v1/shop-1", good, 404, ""},
		"too large":           {[]tls.Certificate{own}, "/v1/groups/shops/app/shop-1", `{"message":"` + strings.Repeat("x", maxBody) + `"}`, 413, "at most 4096 bytes"},
		"no JSON":             {[]tls.Certificate{own}, "/v1/groups/shops/app/shop-1", "ready", 400, "not valid"},
		"an unknown field":    {[]tls.Certificate{own}, "/v1/groups/shops/app/shop-1", `{"status":"ready"}`, 400, `unknown field "status"`},
		"two":                 {[]tls.Certificate{own}, "/v1/groups/shops/app/shop-1", `{"revision":"DIGEST","state":"ready"}{}`, 400, "more than one"},
		"no digest":           {[]tls.Certificate{own}, "/v1/groups/shops/app/shop-1", `{"revision":"latest","state":"ready"}`, 400, `revision "latest"`},
		"a tag of no ring":    {[]tls.Certificate{own}, "/v1/groups/shops/app/shop-1", `{"revision":"1.0.0@DIGEST","state":"ready"}`, 400, "revision"},
		"no word for a state": {[]tls.Certificate{own}, "/v1/groups/shops/app/shop-1", `{"revision":"DIGEST","state":"a b"}`, 400, `state "a b"`},
		"odd labels":          {[]tls.Certificate{own}, "/v1/groups/shops/app/shop-1", `{"revision":"DIGEST","state":"ready","labels":"x"}`, 400, "labels"},
	} {
		status, text := s.send(s.client(c.certificates...), c.path, body(c.body))
		if status != c.status || !strings.Contains(text, c.words) {
			t.Errorf("%s: status %d, %s; want %d with %q", name, status, text, c.status, c.words)
		}
	}
	if got := s.reported("shop-1"); got.State != protocol.DeviceSilent {
		t.Errorf("a refused report was stored: %+v", got)
	}
	if status, _ := s.send(s.client(own), "/v1/groups/shops/app/shop-1", body(good)); status != http.StatusNoContent {
		t.Errorf("afterwards: status %d", status)
	}
}

// A device that reports all the time, or slowly, does not keep others from it.
func TestDevicesThatTakeTooMuch(t *testing.T) {
	s := serve(t, registry.New())
	fast := s.client(s.Device("fast", time.Now().Add(time.Hour), "shops"))
	refused := 0
	for range 2 * burst {
		if status, _ := s.send(fast, "/v1/groups/shops/app/fast", body(good)); status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("none of a series was refused")
	}
	start := time.Now()
	read, write := io.Pipe()
	defer write.Close()
	defer time.AfterFunc(3*readTime, func() { write.Close() }).Stop() // should it not be cut off
	slow := make(chan int, 1)
	go func() {
		status, _ := s.send(s.client(s.Device("slow", time.Now().Add(time.Hour), "shops")), "/v1/groups/shops/app/slow", read)
		slow <- status
	}()
	if _, err := write.Write([]byte(`{"revision"`)); err != nil {
		t.Fatal(err)
	}
	if status, _ := s.send(s.client(s.Device("other", time.Now().Add(time.Hour), "shops")), "/v1/groups/shops/app/other", body(good)); status != http.StatusNoContent {
		t.Errorf("another device meanwhile: status %d", status)
	}
	if status := <-slow; status == http.StatusNoContent || time.Since(start) > 3*readTime {
		t.Errorf("status %d after %s", status, time.Since(start))
	}
}

// A report is acknowledged when the registry has it, and not before; a stop waits for those
// that are on their way.
func TestAcknowledgedIsStored(t *testing.T) {
	var mu sync.Mutex
	away := true
	storage := registry.New()
	started := make(chan struct{}, 100)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		gone := away
		mu.Unlock()
		if gone && r.Method != http.MethodGet {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			started <- struct{}{}
			time.Sleep(500 * time.Millisecond)
		}
		storage.ServeHTTP(w, r)
	}))
	client := s.client(s.Device("shop-1", time.Now().Add(time.Hour), "shops"))
	if status, text := s.send(client, "/v1/groups/shops/app/shop-1", body(good)); status != http.StatusServiceUnavailable || strings.Contains(text, s.registry) {
		t.Errorf("the registry refuses: status %d, %s", status, text)
	}
	mu.Lock()
	away = false
	mu.Unlock()
	answer := make(chan int, 1)
	go func() {
		status, _ := s.send(client, "/v1/groups/shops/app/shop-1", body(good))
		answer <- status
	}()
	<-started
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if status := <-answer; status != http.StatusNoContent {
		t.Errorf("a report on its way: status %d", status)
	}
	if got := s.reported("shop-1"); got.State != protocol.DeviceReady {
		t.Errorf("stored as %+v", got)
	}
}
