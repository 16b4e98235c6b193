// Package override lets flags of the command line win over the settings that a
// topology gives to an adapter.
package override

import (
	"context"
	"maps"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
)

// Flags are those of a deploy. The zero value changes nothing.
type Flags struct {
	rollback bool
	flag     *pflag.Flag
}

// Bind adds the flags to a flag set.
func (f *Flags) Bind(set *pflag.FlagSet) {
	const name = "rollback-on-failure"
	set.BoolVar(&f.rollback, name, true, "go back to the last good release when a deploy fails; off by default in the topology local")
	f.flag = set.Lookup(name)
}

// Wrap makes adapters that get the flags as settings: rollback.
func (f *Flags) Wrap(adapters plugin.Adapters[capability.ContinuousDelivery]) plugin.Adapters[capability.ContinuousDelivery] {
	wrapped := plugin.Adapters[capability.ContinuousDelivery]{}
	for name, open := range adapters {
		wrapped[name] = func(ctx context.Context, env capability.Environment) (capability.ContinuousDelivery, error) {
			if f.flag != nil && f.flag.Changed {
				settings := maps.Clone(env.Provider.Settings)
				if settings == nil {
					settings = map[string]any{}
				}
				settings["rollback"] = f.rollback
				env.Provider.Settings = settings
			}
			return open(ctx, env)
		}
	}
	return wrapped
}
