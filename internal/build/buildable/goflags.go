package buildable

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/pkg/protocol"
)

// goFlags notes GOFLAGS, from the environment or go env -w, and the files that it names.
func (s *surveyor) goFlags() error {
	words, err := splitFlags(s.env.GOFLAGS)
	if err != nil {
		return protocol.Invalid("GOFLAGS: %w", err)
	}
	var kept []string
	for _, word := range words {
		name, value, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case slices.Contains([]string{"toolexec", "overlay", "n"}, name):
			return protocol.Invalid("GOFLAGS has -%s: the program would not be made from what harmony sees", name).
				WithHint("take it out of GOFLAGS for this command; go env GOFLAGS shows where it comes from")
		case s.overridden(name):
			continue
		case name == "modfile" || name == "pgo" && value != "auto" && value != "off":
			if !filepath.IsAbs(value) {
				value = filepath.Join(s.directory(), value)
			}
			sums := strings.TrimSuffix(value, ".mod") + ".sum"
			if err := s.optional(inputs.File, "GOFLAGS ", value, sums); err != nil {
				return err
			}
			word = "-" + name // the file is an item; where it is does not matter
		}
		kept = append(kept, word)
	}
	if len(kept) > 0 {
		s.item(inputs.Setting, "GOFLAGS", strings.Join(kept, " "))
	}
	return nil
}

// overridden knows the flags that change nothing in the program, or that harmony gives
// itself.
func (s *surveyor) overridden(name string) bool {
	if name == "tags" {
		return len(s.source.Tags) > 0
	}
	return slices.Contains([]string{"v", "x", "a", "p", "work", "json", "modcacherw", "ldflags", "trimpath", "buildvcs"}, name)
}
