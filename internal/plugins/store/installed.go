package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Installed is one version of a plugin in the store.
type Installed struct {
	Artifact
	// Previous is the folder of the previous version, if any.
	Previous string `json:"previous,omitempty"`

	// Folder is the name of the version's folder, and Path its executable file.
	Folder string `json:"-"`
	Path   string `json:"-"`
}

// target is the target of the plugin's link while this version is active.
func (i Installed) target() string { return artifact.Target(i.Name, i.Folder, i.bin()) }

// ErrNotInstalled is that of a plugin that is not in the store.
var ErrNotInstalled = errors.New("it is not installed")

// Installed returns the active version of a plugin. The error is [ErrNotInstalled]
// when there is no link, and another one when it is broken.
func (s Store) Installed(name string) (Installed, error) {
	if err := CheckName(name); err != nil {
		return Installed{}, err
	}
	target, err := os.Readlink(s.link(name))
	folder := artifact.FolderOf(name, target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Installed{}, fmt.Errorf("plugin %s: %w", name, ErrNotInstalled)
	case err != nil, !isVersion(folder):
		return Installed{}, protocol.Invalid("%s %w", s.link(name), errForeign).WithHint("remove it")
	}
	i, err := s.version(name, folder)
	if err == nil && i.target() != target {
		return Installed{}, fmt.Errorf("plugin %s is broken: %s leads to %s", name, s.link(name), target)
	}
	return i, err
}

// isVersion reports whether a version's folder can have the name.
func isVersion(folder string) bool {
	return filepath.IsLocal(folder) && filepath.Base(folder) == folder && !strings.HasPrefix(folder, ".")
}

// errForeign is that of another file in place of a plugin's link.
var errForeign = errors.New("was not created by harmony plugin install")

// version reads the record of one version.
func (s Store) version(name, folder string) (Installed, error) {
	if !isVersion(folder) {
		return Installed{}, fmt.Errorf("plugin %s is broken: %q is not a folder of a version", name, folder)
	}
	data, err := os.ReadFile(filepath.Join(s.versions(name), folder, recordName))
	if err != nil {
		return Installed{}, fmt.Errorf("plugin %s is broken: %w", name, err)
	}
	var i Installed
	if err := json.Unmarshal(data, &i); err != nil || i.Name != name || !filepath.IsLocal(i.bin()) {
		return Installed{}, fmt.Errorf("plugin %s is broken: the record of %s is not readable", name, folder)
	}
	i.Folder = folder
	i.Path = filepath.Join(s.versions(name), folder, artifact.Files, filepath.FromSlash(i.bin()))
	return i, nil
}

// All lists the plugins of the store by name, and the errors of broken ones.
func (s Store) All() (list []Installed, broken []error, err error) {
	entries, err := os.ReadDir(s.Bin())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, entry := range entries { // sorted by name
		name, ok := strings.CutPrefix(entry.Name(), artifact.Prefix)
		if !ok {
			continue
		}
		i, err := s.Installed(name)
		if err == nil {
			err = i.Verify()
		}
		if err != nil {
			broken = append(broken, err)
			continue
		}
		list = append(list, i)
	}
	return list, broken, nil
}

// Verify compares the executable with the installed hash.
func (i Installed) Verify() error {
	sum, err := artifact.HashFile(i.Path)
	if err != nil {
		return fmt.Errorf("plugin %s is broken: %w", i.Name, err)
	}
	if sum != i.Executable {
		return fmt.Errorf("plugin %s is broken: %s has changed since it was installed", i.Name, i.Path)
	}
	return nil
}

// write writes the record into a version's folder, atomically.
func (i Installed) write(folder string) error {
	data, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(folder, recordName), append(data, '\n'), permFile); err != nil {
		return err
	}
	return syncFolder(folder)
}

// Rollback makes the previous version the active one.
func (s Store) Rollback(ctx context.Context, name string) (Result, error) {
	if err := CheckName(name); err != nil {
		return Result{}, err
	}
	var result Result
	err := s.locked(ctx, func() error {
		current, err := s.Installed(name)
		if err != nil {
			return err
		}
		if current.Previous == "" {
			return protocol.Invalid("plugin %s: there is no previous version of %s", name, current.Version)
		}
		previous, err := s.version(name, current.Previous)
		if err == nil {
			err = previous.Verify()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return protocol.Invalid("plugin %s: the previous version of %s is gone", name, current.Version).
				WithHint("install it: harmony plugin install %s@VERSION --allow-downgrade", name)
		}
		if err != nil {
			return err
		}
		result = Result{Name: name, Version: previous.Version, Outcome: OutcomeRolledBack, Previous: current.Version, Path: s.link(name)}
		return s.point(previous)
	})
	return result, err
}

// Uninstall removes a plugin with all its versions.
func (s Store) Uninstall(ctx context.Context, name string) (Result, error) {
	if err := CheckName(name); err != nil {
		return Result{}, err
	}
	result := Result{Name: name, Outcome: OutcomeUninstalled}
	err := s.locked(ctx, func() error {
		current, err := s.Installed(name)
		if errors.Is(err, ErrNotInstalled) || errors.Is(err, errForeign) {
			return err
		}
		result.Previous = current.Version // "" for a broken one
		if err := errors.Join(os.Remove(s.link(name)), syncFolder(s.Bin())); err != nil {
			return err
		}
		if err := s.discard(s.versions(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("plugin %s is uninstalled, but its files were not removed: %w", name, err)
		}
		return nil
	})
	return result, err
}
