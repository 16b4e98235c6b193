package build

import "github.com/spf13/pflag"

// Flags are those of harmony build, besides the ones that every stage has.
type Flags struct {
	// NoCache rebuilds everything, ignoring caches.
	NoCache bool
	// Explain says why an app is rebuilt, or where its image was found.
	Explain bool
}

// Bind adds the flags to those of a command.
func (f *Flags) Bind(set *pflag.FlagSet) {
	set.BoolVar(&f.NoCache, "no-cache", false, "rebuild everything, ignoring caches")
	set.BoolVar(&f.Explain, "explain", false, "explain why an app is rebuilt, or where its image was found")
}
