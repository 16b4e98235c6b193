package lock

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/suite"
)

// EnvFile names the lock file for the stages of a release, and for what they start.
const EnvFile = "HARMONY_PLUGINS_LOCK"

// Of is the check against the lock file in a project's folder; found is false when
// there is none.
func Of(folder string) (c Check, found bool, err error) {
	lock, found, err := Find(folder)
	if !found || err != nil {
		return Check{}, false, err
	}
	c = Check{File: filepath.Join(folder, FileName), Lock: lock, Suite: suite.Folder()}
	// What is restored into the cache of a CI job is not believed.
	if os.Getenv("CI") == "" {
		c.Cache = cachedir.In("hashes")
	}
	return c, true, nil
}

// here is the check that applies to this process: against the lock file of the
// release that started it, else that of the project in the current folder.
func here() (Check, bool, error) {
	if file := os.Getenv(EnvFile); file != "" {
		return Of(filepath.Dir(file))
	}
	folder, err := os.Getwd()
	if err != nil {
		return Check{}, false, err
	}
	file, err := config.Find(folder)
	if errors.Is(err, config.ErrNoFile) {
		return Check{}, false, nil
	}
	if err != nil {
		return Check{}, false, err
	}
	return Of(filepath.Dir(file))
}

// Finder finds the plugins of this process on a PATH. Where a lock file applies,
// those that 'harmony plugin sync' installed for the project come first, and what
// differs from the file is refused.
func Finder(path string) discovery.Finder { return finder(path, Check.Plugin) }

// Command finds the plugin of a command that somebody typed: one that the lock file
// does not name is not the project's, and is run.
func Command(path string) discovery.Finder { return finder(path, Check.Pinned) }

func finder(path string, admit func(Check, discovery.Plugin) error) discovery.Finder {
	f := suite.Finder(path)
	c, found, err := here()
	switch {
	case err != nil:
		f.Admit = func(discovery.Plugin) error { return err }
	case found:
		f = c.Finder(f)
		f.Admit = func(p discovery.Plugin) error { return admit(c, p) }
	}
	return f
}

// Finder is a finder that looks into the project's own store first.
func (c Check) Finder(f discovery.Finder) discovery.Finder {
	folder, err := artifact.ProjectStore(os.Getenv, filepath.Dir(c.File))
	if err != nil { // no home: nothing was installed
		return f
	}
	f.Project = filepath.Join(folder, artifact.Bin)
	return f
}
