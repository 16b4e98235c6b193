package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// sourceFolder is the kit's own folder in the repository that contains the working
// folder.
func sourceFolder() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module github.com/nationtech/harmony\n")) {
			return filepath.Join(dir, "test", "cluster"), nil
		}
		if dir == filepath.Dir(dir) {
			return "", badUsage("run this inside the harmony repository")
		}
		dir = filepath.Dir(dir)
	}
}

// installBinaries builds what is missing and links every binary into the state
// folder, which gives users one folder for their PATH.
func (c *cluster) installBinaries(ctx context.Context, wanted use) error {
	source, err := sourceFolder()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.path("bin"), 0o755); err != nil {
		return err
	}
	list := slices.DeleteFunc(recipes(), func(r recipe) bool { return r.use > wanted })
	if err := c.announce(source, list); err != nil {
		return err
	}
	for _, r := range list {
		dir, err := c.build(ctx, filepath.Join(source, "versions", r.name), r)
		if err != nil {
			return err
		}
		for _, file := range append(slices.Collect(maps.Keys(r.binaries)), r.names...) {
			if err := link(filepath.Join(dir, file), c.path("bin", file)); err != nil {
				return err
			}
		}
	}
	return nil
}

// link makes name a symbolic link to target, whatever it was before.
func link(target, name string) error {
	if current, err := os.Readlink(name); err == nil && current == target {
		return nil
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, name); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return nil
}
