package project

import (
	"path"
	"slices"

	"github.com/nationtech/harmony/internal/project/version"
)

// Wanted is what a command asks for: apps by names or globs, or one by a tag.
type Wanted struct {
	Patterns []string
	Tag      string
}

// specific reports whether it asks for some apps only, not for all that there
// are.
func (w Wanted) specific() bool {
	return w.Tag != "" || len(w.Patterns) > 0 && !slices.Contains(w.Patterns, "*")
}

// among reports whether one of the names is asked for.
func (w Wanted) among(names []string) bool {
	if w.Tag != "" {
		_, _, err := version.FromTag(w.Tag, names)
		return err == nil
	}
	return slices.ContainsFunc(w.Patterns, func(pattern string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			matched, err := path.Match(pattern, name)
			return pattern == name || err == nil && matched
		})
	})
}
