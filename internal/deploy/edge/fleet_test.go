package edge

import (
	"bytes"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/nationtech/harmony/internal/cluster/devices/devicestest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// What a thousand devices, of which a tenth is offline, may suffer from a bad version.
const (
	fleetSize    = 1000
	fleetMostRan = fleetSize / 100
	fleetPoll    = time.Second
	fleetBack    = fleetPoll + 30*time.Second
	fleetLimit   = 500 // requests in a second
	fleetMemory  = 256 << 20
)

// fleet are devices that follow the tags of their rings. By their names, ten of them are in
// the first one: a share is one of the places that names are given, and another thousand
// names may have a few more or less there.
type fleet struct {
	t        *testing.T
	registry http.Handler
	world    *world
	names    []string

	mu      sync.Mutex
	runs    map[string]string // by device: the digest of the state
	offline map[string]bool
	bad     map[string]bool            // states that fail
	ran     map[string]map[string]bool // by state: the devices that ever ran it
	fails   time.Time                  // when the first device failed
}

// call asks the registry without a network between.
func (f *fleet) call(method, path string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	w := httptest.NewRecorder()
	f.registry.ServeHTTP(w, r)
	return w
}

// poll has each device that is online look at its tag once.
func (f *fleet) poll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	tags := f.world.edge.RingTags()
	for _, name := range f.names {
		if f.offline[name] {
			continue
		}
		answer := f.call(http.MethodHead, "/v2/fleet/edge/groups/shops/app/manifests/"+tags[f.world.edge.RingOf(name, nil)], nil)
		digest := answer.Header().Get("Docker-Content-Digest")
		if answer.Code != http.StatusOK || digest == f.runs[name] {
			continue
		}
		f.runs[name] = digest
		if f.ran[digest] == nil {
			f.ran[digest] = map[string]bool{}
		}
		f.ran[digest][name] = true
		if f.bad[digest] && f.fails.IsZero() {
			f.fails = time.Now()
		}
		f.report(name, digest, time.Now())
	}
}

func (f *fleet) report(name, digest string, at time.Time) {
	state := "ready"
	if f.bad[digest] {
		state = "failed"
	}
	manifest, err := devicestest.Image(state, digest, at.Format(time.RFC3339), nil).RawManifest()
	if err != nil {
		f.t.Error(err)
	}
	if answer := f.call(http.MethodPut, "/v2/fleet/edge-reports/groups/shops/app/manifests/"+name, manifest); answer.Code != http.StatusCreated {
		f.t.Errorf("report of %s: status %d, %s", name, answer.Code, answer.Body)
	}
}

// counted counts the requests that harmony sends.
type counted struct {
	http.Handler
	mu    sync.Mutex
	times []time.Time
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.times = append(c.times, time.Now())
	c.mu.Unlock()
	c.Handler.ServeHTTP(w, r)
}

// most is how many requests came in a second, at most.
func (c *counted) most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := 0
	for i, at := range c.times {
		end, _ := slices.BinarySearchFunc(c.times, at.Add(time.Second), time.Time.Compare)
		most = max(most, end-i)
	}
	return most
}

// A bad version comes to the first ring and no further, and is gone again at once.
func TestBadVersionInAFleet(t *testing.T) {
	w := newWorld(t)
	w.edge.Reports.Await = protocol.Duration(2 * time.Minute)
	handler := registry.New(registry.Logger(log.New(new(bytes.Buffer), "", 0)))
	served := &counted{Handler: handler}
	w.serve(served)

	f := &fleet{t: t, registry: handler, world: w, runs: map[string]string{}, offline: map[string]bool{}, bad: map[string]bool{}, ran: map[string]map[string]bool{}}
	for i := range fleetSize {
		name := fmt.Sprintf("unit-%d", i)
		f.names = append(f.names, name)
		f.offline[name] = i%10 == 7
		f.report(name, "sha256:"+strings.Repeat("0", 64), time.Now().AddDate(0, 0, -1))
	}
	stopped, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for ticker := time.NewTicker(fleetPoll); ; {
			select {
			case <-stop:
				return
			case <-ticker.C:
				f.poll()
			}
		}
	}()
	defer func() { close(stop); <-stopped }()

	w.edge.Reports.RequestsPerSecond = fleetLimit
	w.edge.Rings = []protocol.DeviceRing{{Share: 1}, {Share: 10}, {Share: 100}}
	good := w.deploy(protocol.OutcomeInstalled)
	digest := good.Published.Digest
	if p := good.Published; p.Ready != fleetSize*9/10 || p.Total != fleetSize {
		t.Errorf("the good version: %d of %d are ready; rings %+v", p.Ready, p.Total, p.Rings)
	}
	w.next("1.1.0", imageTwo)
	w.dryRun = true
	bad := w.deploy(protocol.OutcomePublished).Published.Digest
	w.dryRun = false
	f.mu.Lock()
	f.bad[bad] = true
	f.mu.Unlock()
	_, err := w.try()
	if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "that ran it failed") {
		t.Errorf("status %d: %v", protocol.ExitCode(err), err)
	}
	f.returned(digest, bad)
	if most := served.most(); most > fleetLimit {
		t.Errorf("the registry saw %d requests in a second, and %d are allowed", most, fleetLimit)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if memory.Sys > fleetMemory {
		t.Errorf("%d MiB of memory, with the registry and the devices", memory.Sys>>20)
	}
	t.Logf("%d of %d devices ran the bad version; at most %d requests a second; %d MiB", len(f.ran[bad]), fleetSize, served.most(), memory.Sys>>20)
}

// returned waits until all devices run the good version again, and those that were offline
// have come back to it.
func (f *fleet) returned(good, bad string) {
	f.t.Helper()
	for {
		f.mu.Lock()
		back := 0
		for _, name := range f.names {
			if f.runs[name] == good {
				back++
			}
		}
		ran, since := len(f.ran[bad]), time.Since(f.fails)
		f.mu.Unlock()
		if back == fleetSize*9/10 {
			if ran == 0 || ran > fleetMostRan {
				f.t.Errorf("%d devices ran the bad version, at most %d may", ran, fleetMostRan)
			}
			f.t.Logf("all are back %s after the first one failed", since.Round(time.Second/10))
			break
		}
		if since > fleetBack {
			f.t.Fatalf("%s after the first one failed %d of %d devices run the good version", since, back, fleetSize)
		}
		time.Sleep(fleetPoll / 10)
	}
	f.mu.Lock()
	clear(f.offline)
	f.mu.Unlock()
	f.poll()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.names {
		if f.runs[name] != good {
			f.t.Fatalf("%s was offline, and runs %s", name, f.runs[name])
		}
	}
}
