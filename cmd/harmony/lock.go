package main

import (
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/suite"
)

// finderFor finds the plugins of a project's stages. Where the project has a lock
// file, what differs from it is refused; so do the stages with what they start.
func finderFor(project *config.Project) (discovery.Finder, error) {
	f := suite.Finder(os.Getenv("PATH"))
	check, found, err := lock.Of(project.Root)
	if err != nil {
		return f, err
	}
	if found {
		f = check.Finder(f)
		f.Admit = check.Plugin
	}
	if err := os.Setenv("PATH", f.SearchPath()); err != nil {
		return f, err
	}
	return f, os.Setenv(lock.EnvFile, filepath.Join(project.Root, lock.FileName))
}
