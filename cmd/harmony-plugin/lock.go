package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/index"
	"github.com/nationtech/harmony/internal/plugins/lock"
	pluginlock "github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (c *cli) lock() *cobra.Command {
	var platforms []string
	cmd := &cobra.Command{
		Use: "lock",
		Long: `Pin the project's plugins in harmony-plugins.lock, beside harmony.yaml: version, address
and SHA-256 for each platform, of the artifact and of the executable in it. Without names
these are the plugins that the file pins already, and those that harmony.yaml names. The version is the one that is installed, or else the newest.

The artifacts of all platforms are downloaded and verified; none of them is run or installed.
Commit the file: 'harmony plugin sync' installs exactly what it says, and a release refuses a
stage's plugin that differs from it.`,
		Example: `  harmony plugin lock
  harmony plugin lock spinnaker@1.4.0 --platform linux/amd64`,
		ValidArgsFunction: c.completeInstalled,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.runLock(cmd.Context(), args, platforms)
		},
	}
	cmd.Flags().StringSliceVar(&platforms, "platform", nil, "the `platforms` to pin, such as linux/amd64 (default all that the index has)")
	c.projectFlag(cmd)
	c.httpFlag(cmd)
	c.indexFlag(cmd)
	return cmd
}

func (c *cli) runLock(ctx context.Context, args, platforms []string) error {
	s, err := c.store()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		if args, err = c.projectPlugins(); err != nil {
			return err
		}
		if len(args) == 0 {
			return protocol.Invalid("the project names no third-party plugin, and none is pinned").
				WithHint("name the plugins to pin: harmony plugin lock NAME")
		}
	}
	for i, arg := range args { // what is installed is what the project was tried with
		if installed, err := s.Installed(arg); err == nil && c.index == "" {
			args[i] = strings.TrimPrefix(installed.Index+"/", "/") + arg + "@" + installed.Version
		}
	}
	wanted, err := c.find(ctx, args)
	if err != nil {
		return err
	}
	lock, err := c.pin(ctx, s, wanted, platforms)
	if err != nil || c.output != "json" {
		return err
	}
	return c.writeJSON(lock.Plugins)
}

// pin writes the plugins into the lock file, and returns what it holds then.
func (c *cli) pin(ctx context.Context, s store.Store, list []wanted, platforms []string) (pluginlock.Lock, error) {
	file, err := c.lockFile()
	if err != nil {
		return pluginlock.Lock{}, err
	}
	lock, _, err := pluginlock.Find(filepath.Dir(file))
	if err != nil {
		return lock, err
	}
	for _, w := range list {
		entry, err := c.entry(ctx, s, lock, w.Found, platforms)
		if err != nil {
			return lock, err
		}
		lock = lock.With(entry)
	}
	if err := lock.Write(file); err != nil {
		return lock, err
	}
	for _, w := range list {
		c.tell("pinned %s in %s", w.Manifest, file)
	}
	return lock, nil
}

// entry is a plugin's entry, for the platforms or for all that there are.
func (c *cli) entry(ctx context.Context, s store.Store, lock pluginlock.Lock, f index.Found, platforms []string) (pluginlock.Plugin, error) {
	entry := pluginlock.Plugin{Name: f.Manifest.Name, Version: f.Manifest.Version}
	if err := lacks(f.Manifest, platforms); err != nil {
		return entry, err
	}
	for _, p := range f.Manifest.Platforms {
		platform := p.OS + "/" + p.Arch
		if len(platforms) > 0 && !slices.Contains(platforms, platform) {
			continue
		}
		pinned, err := c.measure(ctx, s, lock, f, p)
		if err != nil {
			return entry, fmt.Errorf("pin %s for %s: %w", f.Manifest, platform, err)
		}
		entry.Platforms = append(entry.Platforms, pinned)
	}
	return entry, nil
}

// lacks is an error where a platform that was asked for is not offered.
func lacks(m index.Manifest, platforms []string) error {
	var errs []error
	for _, platform := range platforms {
		system, processor, _ := strings.Cut(platform, "/")
		_, err := m.Platform(system, processor)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// measure is the entry of one platform. What is known of the very same artifact
// already is not found out again.
func (c *cli) measure(ctx context.Context, s store.Store, lock pluginlock.Lock, f index.Found, p index.Platform) (pluginlock.Platform, error) {
	platform := p.OS + "/" + p.Arch
	pinned := pluginlock.Platform{Platform: platform, Artifact: p.Artifact}
	if entry, ok := lock.Plugin(f.Manifest.Name); ok {
		if old, ok := entry.Platform(platform); ok && old.SHA256 == p.SHA256 && old.Bin == p.Bin {
			pinned.Executable = old.Executable
			return pinned, nil
		}
	}
	installed, err := s.Installed(f.Manifest.Name)
	if err == nil && platform == runtime.GOOS+"/"+runtime.GOARCH && installed.SHA256 == p.SHA256 && installed.Bin == p.Bin && installed.Verify() == nil {
		pinned.Executable = installed.Executable
		return pinned, nil
	}
	artifact, err := artifactOf(f, p.OS, p.Arch)
	if err != nil {
		return pinned, err
	}
	s.Fetcher.Progress = c.progress(artifact)
	pinned.Executable, err = s.Measure(ctx, artifact)
	return pinned, err
}

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
