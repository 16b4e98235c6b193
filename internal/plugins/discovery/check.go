package discovery

import (
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// CheckPrefix begins the names of the kinds of smoke checks among the plugins.
const CheckPrefix = "check-"

// FindCheck returns the executable of a kind of smoke check that is not built in. Errors
// are of status protocol.ExitUnsupported.
func (f Finder) FindCheck(kind string) (Plugin, error) {
	found, err := f.Find(CheckPrefix + kind)
	if err == nil {
		return found, nil
	}
	known := protocol.CheckKinds()
	for _, p := range f.List() {
		if name, ok := strings.CutPrefix(p.Name, CheckPrefix); ok {
			known = append(known, name)
		}
	}
	if slices.Contains(known, kind) {
		return Plugin{}, err // refused
	}
	file := Prefix + CheckPrefix + kind
	missing := protocol.Unsupported("unknown kind of check %s: it is not built in, and no executable %s is on PATH", kind, file)
	if near := nearest.Name(kind, known); near != "" {
		return Plugin{}, missing.WithHint("did you mean %s? Else put %s into a folder of PATH", near, file)
	}
	return Plugin{}, missing.WithHint("put %s into a folder of PATH; docs/configuration.md says what it has to do", file)
}
