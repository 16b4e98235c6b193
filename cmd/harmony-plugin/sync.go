package main

import (
	"context"
	"errors"
	"io/fs"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (c *cli) sync() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sync", Short: "Install exactly what harmony-plugins.lock pins",
		Long: `Install exactly what the project's harmony-plugins.lock pins, older versions than the
installed ones too. No index is asked. Plugins that it does not name are left alone.`,
		Example: "  harmony plugin sync\n  harmony plugin sync --file app/harmony.yaml -o json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.runSync(cmd.Context()) },
	}
	c.projectFlag(cmd)
	c.httpFlag(cmd)
	return cmd
}

func (c *cli) runSync(ctx context.Context) error {
	s, err := c.store()
	if err != nil {
		return err
	}
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
	artifacts, err := pinnedArtifacts(file, lock)
	if err != nil {
		return err
	}
	done := &results{cli: c}
	for _, a := range artifacts {
		s.Fetcher.Progress = c.progress(a)
		result, err := s.Install(ctx, a, store.InstallOptions{AllowDowngrade: true, AllowChanged: true})
		if err == nil {
			err = done.add(result)
		}
		if err != nil {
			return done.end(err)
		}
		c.tellPath(s, a.Name)
	}
	return done.end(nil)
}

// pinnedArtifacts are those for this platform; one that is missing is found
// before anything is installed.
func pinnedArtifacts(file string, lock lock.Lock) ([]store.Artifact, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	var list []store.Artifact
	for _, p := range lock.Plugins {
		if err := store.CheckName(p.Name); err != nil {
			return nil, err
		}
		pinned, ok := p.Platform(platform)
		if !ok {
			return nil, protocol.Unsupported("%s has nothing for plugin %s on %s", file, p.Name, platform).
				WithHint("write it anew: harmony plugin lock %s", p.Name)
		}
		others := map[string]string{}
		for _, other := range p.Platforms {
			if other.Platform != platform {
				others[other.SHA256] = other.Platform
			}
		}
		list = append(list, store.Artifact{
			Name: p.Name, Version: p.Version, URI: pinned.URI, SHA256: pinned.SHA256, Size: pinned.Size,
			Bin: pinned.Bin, Executable: pinned.Executable, Others: others,
		})
	}
	return list, nil
}
