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
	pluginlock "github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (c *cli) lock() *cobra.Command {
	var platforms []string
	cmd := &cobra.Command{
		Use: "lock",
		Long: `Pin the project's plugins in harmony-plugins.lock, next to harmony.yaml: the version and,
for each platform, the address and the SHA-256 of the artifact and of its executable.
Without names, the command pins the plugins that the file already has and those that
harmony.yaml names, in the installed version or else the newest.

The artifacts of all platforms are downloaded and verified; none is run or installed.
Commit the file: 'harmony plugin sync' installs exactly these plugins, and a release
refuses a stage's plugin that differs from it.`,
		Example: `  harmony plugin lock
  harmony plugin lock spinnaker@1.4.0 --platform linux/amd64`,
		ValidArgsFunction: c.completeInstalled,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.runLock(cmd.Context(), args, platforms)
		},
	}
	cmd.Flags().StringSliceVar(&platforms, "platform", nil, "the `platforms` to pin, such as linux/amd64 (default all in the index)")
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
			return protocol.Invalid("the project names no third-party plugins, and none are pinned").
				WithHint("name the plugins to pin: harmony plugin lock NAME")
		}
	}
	for i, arg := range args { // the project was tried with the installed version
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

// pin writes the plugins into the lock file and returns the new lock.
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

// entry is a plugin's entry for the platforms, or for all.
func (c *cli) entry(ctx context.Context, s store.Store, lock pluginlock.Lock, f index.Found, platforms []string) (pluginlock.Plugin, error) {
	entry := pluginlock.Plugin{Name: f.Manifest.Name, Version: f.Manifest.Version}
	var lacking []error
	for _, platform := range platforms {
		system, processor, _ := strings.Cut(platform, "/")
		_, err := f.Manifest.Platform(system, processor)
		lacking = append(lacking, err)
	}
	if err := errors.Join(lacking...); err != nil {
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

// measure is the entry of one platform. The hash of the executable is taken from the
// lock file or the installed plugin if they are of the same artifact.
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
		Long: `Install exactly the plugins in the project's harmony-plugins.lock, for this project only:
harmony runs them in the project's folder and in its releases, and nowhere else. No index
is used. Plugins that were synced before and are no longer pinned are removed; plugins
that 'harmony plugin install' installed stay.`,
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
	lock, err := pluginlock.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return protocol.Invalid("%s does not exist", file).WithHint("create it: harmony plugin lock")
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
		if err := done.add(s.Install(ctx, a, store.InstallOptions{AllowDowngrade: true, AllowChanged: true, ReplaceSuite: c.replaceSuite})); err != nil {
			return done.end(err)
		}
	}
	return done.end(unpinned(ctx, s, lock, done))
}

// unpinned removes plugins that were synced and are no longer pinned.
func unpinned(ctx context.Context, s store.Store, lock pluginlock.Lock, done *results) error {
	installed, _, err := s.All()
	for _, i := range installed {
		if _, pinned := lock.Plugin(i.Name); !pinned && err == nil {
			err = done.add(s.Uninstall(ctx, i.Name))
		}
	}
	return err
}

// isOwn reports whether a pinned plugin is part of this harmony, and so need not be
// installed.
func isOwn(p pluginlock.Plugin, pinned pluginlock.Platform) bool {
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

// pinnedArtifacts are those for this platform. Missing and forbidden ones are errors
// before anything is installed.
func (c *cli) pinnedArtifacts(s store.Store, file string, lock pluginlock.Lock) ([]store.Artifact, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	var list []store.Artifact
	for _, p := range lock.Plugins {
		if err := store.CheckName(p.Name); err != nil {
			return nil, err
		}
		pinned, ok := p.Platform(platform)
		if !ok {
			return nil, protocol.Unsupported("%s has no entry for plugin %s on %s", file, p.Name, platform).
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
