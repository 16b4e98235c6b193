// Package store installs plugins: it downloads, verifies and unpacks them, and can
// roll back to the previous version.
//
// Each version has its own folder, which is complete before anything points to it.
// One symbolic link on PATH decides which version runs, and is replaced atomically:
// a crash at any moment leaves the old plugin or the new one, never a mixture. No
// code of a plugin is run.
//
//	bin/harmony-foo → ../plugins/foo/1.4.0-0123456789ab/files/harmony-foo
//	plugins/foo/1.4.0-0123456789ab/plugin.json
//	plugins/foo/1.4.0-0123456789ab/files/…
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/plugins/artifact"
)

// Store is the plugins of a user, or of one project of the user's.
type Store struct {
	// Folder is created if it is missing.
	Folder  string
	Fetcher Fetcher
	// Warn gets warnings, such as that the store waits for another process. It may be
	// nil.
	Warn func(string)
}

const (
	permFolder = 0o755
	permFile   = 0o644
	// unfinished is the prefix of files that are incomplete or half removed.
	unfinished = ".new-"
	recordName = "plugin.json"
)

// Bin is the folder that belongs on PATH.
func (s Store) Bin() string { return filepath.Join(s.Folder, artifact.Bin) }

func (s Store) plugins() string { return filepath.Join(s.Folder, artifact.Plugins) }

// versions is the folder of all versions of a plugin.
func (s Store) versions(name string) string { return filepath.Join(s.plugins(), name) }

// link is the file on PATH that runs for a plugin's name.
func (s Store) link(name string) string { return filepath.Join(s.Bin(), artifact.Prefix+name) }

// locked does work while no other process changes the store. It first removes files
// that an earlier process left unfinished.
func (s Store) locked(ctx context.Context, work func() error) error {
	for _, folder := range []string{s.plugins(), s.Bin()} {
		if err := os.MkdirAll(folder, permFolder); err != nil {
			return fmt.Errorf("create the plugin folder: %w", err)
		}
	}
	lock, err := atomicfile.Lock(ctx, filepath.Join(s.plugins(), ".lock"), func() {
		s.warn("waiting for another process that is changing the plugins")
	})
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := s.sweep(); err != nil {
		return err
	}
	return work()
}

// sweep removes unfinished files.
func (s Store) sweep() error {
	for _, folder := range []string{artifact.Plugins, artifact.Plugins + "/*", artifact.Bin} {
		left, err := fs.Glob(os.DirFS(s.Folder), folder+"/"+unfinished+"*")
		for _, name := range left {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.Folder, name)))
		}
		if err != nil {
			return fmt.Errorf("remove unfinished files: %w", err)
		}
	}
	return nil
}

func (s Store) warn(format string, args ...any) {
	if s.Warn != nil {
		s.Warn(fmt.Sprintf(format, args...))
	}
}

// point makes the plugin's link lead to a version, atomically.
func (s Store) point(i Installed) error {
	next := filepath.Join(s.Bin(), unfinished+i.Name)
	if err := os.Symlink(i.target(), next); err != nil {
		return err
	}
	if err := os.Rename(next, s.link(i.Name)); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return syncFolder(s.Bin())
}

// syncFolder makes the names in a folder survive a power failure.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) { // not supported by the file system
		err = nil
	}
	return errors.Join(err, folder.Close())
}

// syncFolders does the same for a folder and all folders in it.
func syncFolders(path string) error {
	return filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return syncFolder(path)
	})
}
