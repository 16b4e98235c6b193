package buildkit

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestRankMovesOnlyWhatItMust(t *testing.T) {
	workers := []string{"tcp://a:1", "tcp://b:1", "tcp://c:1"}
	count := map[string]int{}
	for i := range 300 {
		app := fmt.Sprint("app-", i)
		first := rank(workers, app)[0]
		count[first]++
		if again := rank([]string{workers[2], workers[0], workers[1]}, app)[0]; again != first {
			t.Fatalf("%s goes to %s and to %s", app, first, again)
		}
		if more := rank(append(workers, "tcp://d:1"), app)[0]; more != first && more != "tcp://d:1" {
			t.Errorf("%s moves from %s to %s", app, first, more)
		}
	}
	for _, worker := range workers {
		if count[worker] < 60 {
			t.Errorf("%s gets %d of 300 apps", worker, count[worker])
		}
	}
}

func TestFarmGivesPlaces(t *testing.T) {
	f := newFarm([]string{"a", "b"}, 1)
	first, _ := f.acquire(t.Context(), "app", nil)
	second, _ := f.acquire(t.Context(), "app", nil)
	if ranked := rank(f.addresses, "app"); first != ranked[0] || second != ranked[1] {
		t.Errorf("%s, %s of %v", first, second, ranked)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if third, ok := f.acquire(ctx, "app", nil); ok {
		t.Errorf("a third place on %s", third)
	}
	got := make(chan string)
	go func() {
		third, _ := f.acquire(t.Context(), "app", nil)
		got <- third
	}()
	f.release(second)
	if third := <-got; third != second {
		t.Errorf("%s instead of %s", third, second)
	}
	if _, ok := f.acquire(t.Context(), "app", map[string]bool{"a": true, "b": true}); ok {
		t.Error("a place on a worker that is lost")
	}
}

// farmProject has workers whose places the app's rank gives.
func farmProject(t *testing.T, daemons []*daemon, files map[string]string) (*project, []*daemon) {
	t.Helper()
	var addresses []string
	byAddress := map[string]*daemon{}
	for _, d := range daemons {
		addresses = append(addresses, d.address)
		byAddress[d.address] = d
	}
	list := make([]any, len(addresses))
	for i, a := range addresses {
		list[i] = a
	}
	p := newProject(t, map[string]any{"addresses": list, "concurrency": 1}, files)
	var ranked []*daemon
	for _, a := range rank(addresses, p.app.Name) {
		ranked = append(ranked, byAddress[a])
	}
	return p, ranked
}

func TestFarmSurvivesTheLossOfAWorkerInMidBuild(t *testing.T) {
	base := pushBusybox(t)
	daemons := []*daemon{start(t, ""), start(t, ""), start(t, "")}
	for _, d := range daemons {
		d.ready(t, tlsFiles{})
	}
	p, ranked := farmProject(t, daemons, map[string]string{"Dockerfile": "FROM " + base + "\nRUN echo begun && sleep 6\n"})
	type end struct {
		ref protocol.ImageRef
		err error
	}
	done := make(chan end, 1)
	go func() {
		ref, err := p.build(t.Context())
		done <- end{ref, err}
	}()
	eventually(t, func() bool { return len(sleepers(t, ranked[0])) > 0 })
	ranked[0].kill()
	e := <-done
	if e.err != nil {
		t.Fatalf("%v\n%s", e.err, p.told())
	}
	if _, found := contents(t, e.ref)["bin/busybox"]; !found || !strings.Contains(p.told(), ranked[0].address+" is lost") {
		t.Errorf("%+v\n%s", e.ref, p.told())
	}
	// A dead worker is no obstacle at the start either.
	p.write(map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
	p.mustBuild()
	ranked[1].kill()
	ranked[2].kill()
	p.write(map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /b\n"})
	_, err := p.build(t.Context())
	if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "none of the 3 builders") || protocol.HintOf(err) == "" {
		t.Errorf("status %d: %v", protocol.ExitCode(err), err)
	}
}

// The worker is kept busy by another process, which only the worker knows of.
func TestFarmGoesAroundABusyWorker(t *testing.T) {
	base := pushBusybox(t)
	daemons := []*daemon{start(t, ""), start(t, "")}
	for _, d := range daemons {
		d.ready(t, tlsFiles{})
	}
	p, ranked := farmProject(t, daemons, map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
	other := newProject(t, addressed(ranked[0]), map[string]string{"Dockerfile": "FROM " + base + "\nRUN sleep 300\n"})
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { _, _ = other.build(ctx) }) // it is cancelled
	defer wait.Wait()
	defer cancel()
	eventually(t, func() bool { return len(sleepers(t, ranked[0])) > 0 })
	p.mustBuild()
	if !strings.Contains(p.told(), ranked[0].address+" is busy") {
		t.Errorf("built on the busy worker:\n%s", p.told())
	}
}
