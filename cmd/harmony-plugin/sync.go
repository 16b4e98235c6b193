package main

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (c *cli) sync() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sync",
		Long: `Install exactly what the project's harmony-plugins.lock pins, for this project alone: its
plugins are run by harmony in the project's folder and by its releases, and nowhere else.
No index is asked. What was synced before and is not pinned any more is removed; plugins
that 'harmony plugin install' installed are left alone.`,
		Example: "  harmony plugin sync\n  harmony plugin sync --file app/harmony.yaml -o json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.runSync(cmd.Context()) },
	}
	c.projectFlag(cmd)
	c.httpFlag(cmd)
	c.replaceFlag(cmd)
	return cmd
}

func (c *cli) runSync(ctx context.Context) error {
	file, err := c.lockFile()
	if err != nil {
		return err
	}
	lock, err := lock.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return protocol.Invalid("there is no %s", file).WithHint("write one: harmony plugin lock")
	}
	if err != nil {
		return err
	}
	s, err := c.projectStore(file)
	if err != nil {
		return err
	}
	artifacts, err := c.pinnedArtifacts(s, file, lock)
	if err != nil {
		return err
	}
	done := &results{cli: c}
	for _, a := range artifacts {
		s.Fetcher.Progress = c.progress(a)
		result, err := s.Install(ctx, a, store.InstallOptions{AllowDowngrade: true, AllowChanged: true, ReplaceSuite: c.replaceSuite})
		if err == nil {
			err = done.add(result)
		}
		if err != nil {
			return done.end(err)
		}
	}
	return done.end(unpinned(ctx, s, lock, done))
}

// unpinned removes what was synced earlier and is not pinned any more.
func unpinned(ctx context.Context, s store.Store, lock lock.Lock, done *results) error {
	installed, _, err := s.All()
	for _, i := range installed {
		if _, pinned := lock.Plugin(i.Name); pinned || err != nil {
			continue
		}
		var result store.Result
		if result, err = s.Uninstall(ctx, i.Name); err == nil {
			err = done.add(result)
		}
	}
	return err
}

// isOwn reports whether a pinned plugin is the one that came with harmony: there
// is nothing to install.
func isOwn(p lock.Plugin, pinned lock.Platform) bool {
	if !slices.Contains(suite.Plugins(), p.Name) {
		return false
	}
	own, err := suite.Sibling(p.Name)
	if err != nil {
		return false
	}
	sum, err := artifact.HashFile(own.Path)
	return err == nil && sum == pinned.Executable
}

// pinnedArtifacts are those for this platform. What is missing or not permitted is
// found before anything is installed.
func (c *cli) pinnedArtifacts(s store.Store, file string, lock lock.Lock) ([]store.Artifact, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	var list []store.Artifact
	for _, p := range lock.Plugins {
		if err := store.CheckName(p.Name); err != nil {
			return nil, err
		}
		pinned, ok := p.Platform(platform)
		if !ok {
			return nil, protocol.Unsupported("%s has nothing for plugin %s on %s", file, p.Name, platform).
				WithHint("pin it for this platform: harmony plugin lock %s", p.Name)
		}
		if isOwn(p, pinned) {
			continue
		}
		if err := s.CheckReplace(p.Name, c.replaceSuite); err != nil {
			return nil, err
		}
		others := map[string]string{}
		for _, other := range p.Platforms {
			if other.Platform != platform {
				others[other.SHA256] = other.Platform
			}
		}
		list = append(list, store.Artifact{
			Name: p.Name, Version: p.Version, Artifact: pinned.Artifact, Executable: pinned.Executable, Others: others,
		})
	}
	return list, nil
}
