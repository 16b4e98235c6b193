package buildkit

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
)

// farm hands out workers: an app's own one, which has its cache, unless that is
// busy.
type farm struct {
	addresses []string
	// limit of builds on one worker at a time, where there are several.
	limit int

	mu       sync.Mutex
	building map[string]int
	changed  chan struct{} // closed when a build ends
}

func newFarm(addresses []string, limit int) *farm {
	return &farm{addresses: addresses, limit: limit, building: map[string]int{}, changed: make(chan struct{})}
}

// rank orders the workers for an app by rendezvous hashing: a worker more or
// less moves only the apps that it gets or had.
func rank(addresses []string, app string) []string {
	weights := map[string]string{}
	for _, address := range addresses {
		sum := sha256.Sum256([]byte(app + "\x00" + address))
		weights[address] = string(sum[:])
	}
	ranked := slices.Clone(addresses)
	slices.SortFunc(ranked, func(a, b string) int { return strings.Compare(weights[b], weights[a]) })
	return ranked
}

// acquire takes a place on the best worker that is not in except, and waits for
// one if all are busy. It is false when all are in except, or ctx is done. The
// place is to be given back.
func (f *farm) acquire(ctx context.Context, app string, except map[string]bool) (string, bool) {
	ranked := slices.DeleteFunc(rank(f.addresses, app), func(a string) bool { return except[a] })
	for len(ranked) > 0 {
		address, changed := f.take(ranked)
		if address != "" {
			return address, true
		}
		select {
		case <-ctx.Done():
			return "", false
		case <-changed:
		}
	}
	return "", false
}

func (f *farm) take(ranked []string) (string, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, address := range ranked {
		if len(f.addresses) == 1 || f.building[address] < f.limit {
			f.building[address]++
			return address, nil
		}
	}
	return "", f.changed
}

// release gives the place back.
func (f *farm) release(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.building[address]--
	close(f.changed)
	f.changed = make(chan struct{})
}
