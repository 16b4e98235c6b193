// Package auto is the adapter that takes the first of several ContainerBuilders
// that can build an app.
package auto

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Candidate is an adapter that may be taken.
type Candidate struct {
	// Name of the adapter, which has its settings under settings.NAME.
	Name string
	New  capability.Adapter[capability.ContainerBuilder]
}

// New makes the adapter out of candidates, the best first. An app is built by
// the first one that does not refuse with status protocol.ExitUnsupported.
func New(candidates ...Candidate) capability.Adapter[capability.ContainerBuilder] {
	return func(ctx context.Context, env capability.Environment) (capability.ContainerBuilder, error) {
		b, table := &builder{}, settings.Table{}
		own := make([]map[string]any, len(candidates))
		for i, c := range candidates {
			table[c.Name] = settings.Raw(&own[i])
		}
		if err := settings.Of(env, "containerBuilder", table); err != nil {
			return nil, err
		}
		for i, c := range candidates {
			env := env
			env.Provider.Adapter, env.Provider.Settings = c.Name, own[i]
			b.choices = append(b.choices, choice{c.Name, sync.OnceValues(func() (capability.ContainerBuilder, error) { return c.New(ctx, env) })})
		}
		return b, nil
	}
}

// builder is the adapter. It is safe for use by several goroutines.
type builder struct{ choices []choice }

// choice opens its adapter when it is first needed.
type choice struct {
	name string
	open func() (capability.ContainerBuilder, error)
}

// BuildImage implements [capability.ContainerBuilder].
func (b *builder) BuildImage(ctx context.Context, app protocol.AppSpec) (protocol.ImageRef, error) {
	var tried, hint string // the last hint is that of the adapter which can do most
	for _, c := range b.choices {
		adapter, err := c.open()
		if err == nil {
			var image protocol.ImageRef
			if image, err = adapter.BuildImage(ctx, app); err == nil {
				return image, nil
			}
		}
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Code != protocol.ExitUnsupported || ctx.Err() != nil {
			return protocol.ImageRef{}, err
		}
		tried += fmt.Sprintf("\n  %s: %v", c.name, err)
		hint = cmp.Or(refused.Hint, hint)
	}
	return protocol.ImageRef{}, protocol.Unsupported("no adapter can build %s; tried:%s", app.Name, tried).WithHint("%s", hint)
}
