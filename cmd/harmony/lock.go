package main

import (
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	pluginlock "github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/suite"
)

// lockOf refuses the plugins that differ from the project's lock file; it is nil
// when there is none.
func lockOf(project *config.Project) (func(discovery.Plugin) error, error) {
	lock, found, err := pluginlock.Find(project.Root)
	if !found || err != nil {
		return nil, err
	}
	check := pluginlock.Check{
		File: filepath.Join(project.Root, pluginlock.FileName), Lock: lock, Suite: suite.Folder(), Cache: cacheFolder("hashes"),
	}
	return check.Plugin, nil
}

// cacheFolder is one of the user's folders for what can be found out again; ""
// when there is no home.
func cacheFolder(name string) string {
	folder, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(folder, "harmony", name)
}
