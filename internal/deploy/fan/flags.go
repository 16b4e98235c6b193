package fan

import (
	"maps"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/capability"
)

// Flags are those of a deploy: the way to a cluster, and what wins over the
// settings of a topology. The zero value changes nothing.
type Flags struct {
	conn.Flags
	rollback bool
	flag     *pflag.Flag
}

// Bind adds the flags that win over settings to a flag set.
func (f *Flags) Bind(set *pflag.FlagSet) {
	const name = "rollback-on-failure"
	set.BoolVar(&f.rollback, name, true, "roll back to the last good release when a deploy fails; off by default in the built-in topology local")
	f.flag = set.Lookup(name)
}

// over is the environment with the flags as settings: rollback.
func (f *Flags) over(env capability.Environment) capability.Environment {
	if f.flag == nil || !f.flag.Changed {
		return env
	}
	settings := maps.Clone(env.Provider.Settings)
	if settings == nil {
		settings = map[string]any{}
	}
	settings["rollback"] = f.rollback
	env.Provider.Settings = settings
	return env
}
