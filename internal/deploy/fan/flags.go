package fan

import (
	"maps"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Flags are those of a deploy: the way to a cluster, and what wins over the
// settings of a topology. The zero value changes nothing.
type Flags struct {
	conn.Flags
	rollback, noDowngrade, follow bool
	set                           *pflag.FlagSet
	adopt                         string
}

// Bind adds the flags that win over settings to a flag set.
func (f *Flags) Bind(set *pflag.FlagSet) {
	f.set = set
	set.BoolVar(&f.rollback, rollbackFlag, true, "roll back to the last good release when a deploy fails; off by default in the built-in topology local")
	set.BoolVar(&f.noDowngrade, DowngradeFlag, false, "refuse to replace a newer version by an older one; on by default in the topology ci and on a target production")
	set.BoolVar(&f.follow, FollowFlag, false, "stay while the rollout to several clusters waits or is paused between its waves")
	set.StringVar(&f.adopt, AdoptFlag, "", "take over what somebody else made of an app: `same-chart`, or any-chart")
	set.Lookup(AdoptFlag).NoOptDefVal = string(capability.AdoptSameChart)
}

const (
	// AdoptFlag is the flag of a deploy that takes over what somebody else made.
	AdoptFlag = "adopt"
	// FollowFlag is the flag of a deploy that stays while its rollout waits or is paused.
	FollowFlag = "follow"
	// DowngradeFlag is the flag of a deploy that leaves newer versions alone.
	DowngradeFlag = "no-downgrade"

	rollbackFlag = "rollback-on-failure"
)

// adoption is the value of the flag.
func (f *Flags) adoption() (capability.Adoption, error) {
	switch a := capability.Adoption(f.adopt); a {
	case capability.AdoptNothing, capability.AdoptSameChart, capability.AdoptAnyChart:
		return a, nil
	}
	return "", protocol.Invalid("--%s %q is not one of %s, %s", AdoptFlag, f.adopt, capability.AdoptSameChart, capability.AdoptAnyChart)
}

// over is the environment with the flags as settings.
func (f *Flags) over(env capability.Environment) capability.Environment {
	if f.given(DowngradeFlag) {
		targets := maps.Clone(env.Topology.Targets)
		for name, target := range targets {
			target.NoDowngrade = &f.noDowngrade
			targets[name] = target
		}
		env.Topology.Targets = targets
	}
	if !f.given(rollbackFlag) {
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

func (f *Flags) given(name string) bool { return f.set != nil && f.set.Changed(name) }
