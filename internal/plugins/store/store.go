// Package store keeps plugins that were installed from an index: it
// downloads, verifies and unpacks them, and can go back to the version before.
//
// A version lies in a folder of its own, which is complete before anything
// points to it. What runs is decided by one symbolic link on PATH, which is
// replaced in one step: a crash at any moment leaves the plugin before or the
// new one, never a mixture. Nothing of a plugin is run.
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
	"strings"
	"syscall"
	"time"

	"github.com/nationtech/harmony/internal/plugins/artifact"
)

// Store is the plugins of a user, or of one project of the user's.
type Store struct {
	// Folder holds everything; it is made where it is missing.
	Folder string
	// Fetcher downloads.
	Fetcher Fetcher
	// Warn is told what is no error, such as that another process is waited for;
	// it may be nil.
	Warn func(string)
}

const (
	permFolder = 0o755
	permFile   = 0o644
	// unfinished begins the names of what is not complete yet, or no longer.
	unfinished = ".new-"
	recordName = "plugin.json"
	lockPause  = 50 * time.Millisecond
)

// Bin is the folder that belongs on PATH.
func (s Store) Bin() string { return filepath.Join(s.Folder, artifact.Bin) }

func (s Store) plugins() string { return filepath.Join(s.Folder, artifact.Plugins) }

// versions is the folder of all versions of a plugin.
func (s Store) versions(name string) string { return filepath.Join(s.plugins(), name) }

// link is what is run for a plugin's name.
func (s Store) link(name string) string { return filepath.Join(s.Bin(), artifact.Prefix+name) }

// locked does work while no other process changes the store. What an earlier
// one left unfinished is removed first.
func (s Store) locked(ctx context.Context, work func() error) error {
	for _, folder := range []string{s.plugins(), s.Bin()} {
		if err := os.MkdirAll(folder, permFolder); err != nil {
			return fmt.Errorf("make the folder for plugins: %w", err)
		}
	}
	lock, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	// The kernel releases the lock with its file, however this process ends.
	defer lock.Close()
	if err := s.sweep(); err != nil {
		return err
	}
	return work()
}

func (s Store) acquire(ctx context.Context) (*os.File, error) {
	path := filepath.Join(s.plugins(), ".lock")
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), lock.Close())
		}
		if !told {
			s.warn("another process is changing the plugins: waiting for it")
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for another process that changes the plugins: %w", ctx.Err()), lock.Close())
		case <-time.After(lockPause):
		}
	}
}

// sweep removes what was left unfinished.
func (s Store) sweep() error {
	folders := []string{s.plugins(), s.Bin()}
	entries, err := os.ReadDir(s.plugins())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			folders = append(folders, filepath.Join(s.plugins(), entry.Name()))
		}
	}
	for _, folder := range folders {
		if err := sweepFolder(folder); err != nil {
			return fmt.Errorf("remove what was left unfinished: %w", err)
		}
	}
	return nil
}

func sweepFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) { // it was left unfinished itself
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), unfinished) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(folder, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s Store) warn(format string, args ...any) {
	if s.Warn != nil {
		s.Warn(fmt.Sprintf(format, args...))
	}
}

// point makes the plugin's link lead to a version, in one step.
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

// syncFolder makes the names in a folder outlast a loss of power.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) { // the file system has no such thing
		err = nil
	}
	return errors.Join(err, folder.Close())
}

// syncFolders does the same for a folder and all below it.
func syncFolders(path string) error {
	return filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return syncFolder(path)
	})
}
