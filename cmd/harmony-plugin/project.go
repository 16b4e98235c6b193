package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (c *cli) projectFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.file, "file", "f", "", "the project's `harmony.yaml`; found from the current folder by default")
}

// lockFile is the path of the project's lock file.
func (c *cli) lockFile() (string, error) {
	if c.file != "" {
		return filepath.Join(filepath.Dir(c.file), lock.FileName), nil
	}
	file, err := config.Find("")
	return filepath.Join(filepath.Dir(file), lock.FileName), err
}

// projectPlugins are the pinned plugins, and the third-party ones that the project
// names.
func (c *cli) projectPlugins() ([]string, error) {
	file, err := c.lockFile()
	if err != nil {
		return nil, err
	}
	lock, _, err := lock.Find(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range lock.Plugins {
		names = append(names, p.Name)
	}
	project, err := config.Load(filepath.Join(filepath.Dir(file), config.FileName))
	if err != nil {
		return nil, err
	}
	for _, name := range named(project) {
		name = strings.TrimPrefix(name, discovery.Prefix)
		if name != "" && !slices.Contains(suite.Plugins(), name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// named are the plugins that the project names: for a stage, for charts, for images, for
// smoke checks, and as steps of a pipeline.
func named(project *config.Project) []string {
	var names []string
	for _, t := range project.Topologies {
		for _, p := range t.Provided() {
			names = append(names, p.Provider.Plugin)
		}
		if t.Smoke != nil {
			names = append(names, t.Smoke.Plugin)
		}
	}
	for _, app := range project.Apps {
		if app.Chart.Builder != nil {
			names = append(names, app.Chart.Builder.Plugin)
		}
		for _, one := range app.ForEachImage() {
			if b := one.Image.Buildable; b != nil { // harmony's own types have no plugin
				if p, err := pathFinder().Find("buildable-" + b.Type); err == nil {
					names = append(names, p.Name)
				}
			}
		}
		for _, check := range app.Smoke {
			for kind := range check.Other {
				names = append(names, discovery.CheckPrefix+kind)
			}
		}
	}
	steps := []string{protocol.StepRelease, protocol.StepDeploy, protocol.StepSmoke}
	for _, p := range project.Pipelines {
		for _, step := range p.Pipeline {
			// The plugin of a stage may have a different name.
			if _, err := pathFinder().Find(step.Stage); err == nil && !slices.Contains(steps, step.Stage) {
				names = append(names, step.Stage)
			}
		}
	}
	return names
}

// pathFinder finds the plugins that harmony runs outside of a project.
func pathFinder() discovery.Finder { return suite.Finder(os.Getenv("PATH")) }
