package discovery

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/internal/cli/owner"
)

// Warnings reports what is dangerous about PATH itself: entries that depend on the
// current folder, and folders that others can write. No plugin is run from them,
// but other programs may be.
func (f Finder) Warnings() []string {
	var list []string
	for i, entry := range filepath.SplitList(f.Path) {
		switch {
		case entry == "" || filepath.Clean(entry) == ".":
			list = append(list, fmt.Sprintf("entry %d of PATH is the current folder: no plugin is run from it", i+1))
		case !filepath.IsAbs(entry):
			list = append(list, fmt.Sprintf("entry %d of PATH, %q, is relative to the current folder: no plugin is run from it", i+1, entry))
		}
	}
	check := &owner.Checker{UID: f.UID}
	for _, folder := range f.folders() {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			continue // a PATH may name folders that do not exist
		}
		if err := check.Check(folder); err != nil {
			list = append(list, "no plugin is run from a folder on PATH: "+err.Error())
		}
	}
	return list
}
