// Package appplugin asks app plugins: which of those on PATH offer apps, and
// whatever else one can answer. Answers are documents.
package appplugin

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/lock"
)

// atOnce is how many plugins are asked side by side what they are.
const atOnce = 8

// Offer is an app plugin with the names of its apps.
type Offer struct {
	discovery.Plugin
	Apps []string
}

// Offers lists the app plugins on PATH, in its order. A plugin is asked what it
// is when it is new or has changed; one that does not answer offers nothing. The
// error is that of a cancelled context.
func Offers(ctx context.Context, path string) ([]Offer, error) {
	describer := discovery.Describer{Cache: cachedir.In("describe")}
	finder := lock.Finder(path)
	plugins := finder.List()
	found := make([]Offer, len(plugins))
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, p := range plugins {
		if p.Refused != "" || p.Shadowed != "" || slices.Contains(finder.Own, p.Name) || finder.Admit != nil && finder.Admit(p) != nil {
			continue
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if info, err := describer.Describe(ctx, p); err == nil {
				found[i] = Offer{Plugin: p, Apps: info.Apps}
			}
		})
	}
	all.Wait()
	var offers []Offer
	for _, offer := range found {
		if len(offer.Apps) > 0 {
			offers = append(offers, offer)
		}
	}
	return offers, ctx.Err()
}

// Named is the plugin on PATH that is called so: harmony-fleet, or fleet.
func Named(path, name string) (discovery.Plugin, error) {
	return lock.Finder(path).Find(strings.TrimPrefix(name, discovery.Prefix))
}
