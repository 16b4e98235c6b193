package build

import "github.com/spf13/pflag"

// Flags are those of harmony build, beside the ones that every stage has.
type Flags struct {
	// NoCache builds everything anew.
	NoCache bool
	// Explain tells why an app is built again, or where its image was found.
	Explain bool
}

// Bind adds the flags to those of a command.
func (f *Flags) Bind(set *pflag.FlagSet) {
	set.BoolVar(&f.NoCache, "no-cache", false, "build everything anew, whatever was built before")
	set.BoolVar(&f.Explain, "explain", false, "tell why an app is built again, or where its image was found")
}
