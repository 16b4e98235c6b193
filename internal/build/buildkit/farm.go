package buildkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/build/solve"
	"github.com/nationtech/harmony/pkg/protocol"
)

// farm assigns workers: each app has its own, which has its cache, unless that is busy.
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

// rank orders the workers for an app by rendezvous hashing: adding or removing a worker
// moves only its own apps.
func rank(addresses []string, app string) []string {
	weights := map[string]string{}
	for _, address := range addresses {
		weights[address] = digest.FromString(app + "\x00" + address).Encoded()
	}
	ranked := slices.Clone(addresses)
	slices.SortFunc(ranked, func(a, b string) int { return strings.Compare(weights[b], weights[a]) })
	return ranked
}

// acquire takes a place on the best worker that is not in except, and waits if all are
// busy. It is false if all are in except, or ctx is done. The caller releases the place.
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

// search finds a worker that builds one image.
type search struct {
	*backend
	app protocol.AppSpec
	// lost are the workers that did not answer or died, and busy those that build
	// for others.
	lost, busy map[string]bool
	reasons    []error
}

// next connects to the best worker that is left. The caller releases its place in the
// farm.
func (s *search) next(ctx context.Context) (string, *client.Client, error) {
	for {
		address, ok := s.farm.acquire(ctx, s.app.Name, s.except())
		if ctx.Err() != nil {
			if ok {
				s.farm.release(address)
			}
			return "", nil, fmt.Errorf("build %s: %w", s.app.Name, context.Cause(ctx))
		}
		if !ok {
			return "", nil, s.failure()
		}
		c, err := dial(ctx, address, s.settings.tls)
		if err == nil && !s.isBusy(ctx, address, c) {
			return address, c, nil
		}
		s.farm.release(address)
		switch {
		case err == nil:
			s.busy[address] = true
			s.tell(s.app, "the builder %s is busy, %s is built elsewhere", address, s.app.Name)
			if err := c.Close(); err != nil {
				return "", nil, err
			}
		case ctx.Err() != nil || !solve.IsUnreachable(err) && len(s.farm.addresses) == 1:
			return "", nil, err
		default:
			s.lose(address, err)
		}
	}
}

// except are the workers to avoid: those that are lost, and the busy ones while there
// are others.
func (s *search) except() map[string]bool {
	except := map[string]bool{}
	for _, address := range s.farm.addresses {
		except[address] = s.lost[address] || s.busy[address]
	}
	if slices.ContainsFunc(s.farm.addresses, func(a string) bool { return !except[a] }) {
		return except
	}
	return s.lost
}

// isBusy reports whether other clients keep a worker of a farm busy. When all
// are, the best will do.
func (s *search) isBusy(ctx context.Context, address string, c *client.Client) bool {
	return len(s.farm.addresses) > 1 && !s.busy[address] && builds(ctx, c) >= s.settings.Concurrency
}

// lose gives a worker up for this image.
func (s *search) lose(address string, err error) {
	s.lost[address] = true
	s.reasons = append(s.reasons, err)
	if len(s.lost) < len(s.farm.addresses) {
		s.tell(s.app, "the builder %s is lost, %s is built elsewhere: %v", address, s.app.Name, err)
	}
}

// failure is the error when no worker is left.
func (s *search) failure() error {
	if len(s.reasons) == 1 {
		return s.reasons[0]
	}
	err := errors.Join(s.reasons...)
	text := strings.ReplaceAll(err.Error(), "\n", "\n  ")
	return protocol.Retryable("none of the %d builders can be used:\n  %s", len(s.reasons), text).WithHint("%s", protocol.HintOf(s.reasons[0]))
}
