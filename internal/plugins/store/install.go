package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/store/archive"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Outcome says what was done to a plugin.
type Outcome string

// The outcomes.
const (
	OutcomeInstalled   Outcome = "installed"
	OutcomeUpgraded    Outcome = "upgraded"
	OutcomeDowngraded  Outcome = "downgraded"
	OutcomeRepaired    Outcome = "repaired"
	OutcomeRolledBack  Outcome = "rolled-back"
	OutcomeUninstalled Outcome = "uninstalled"
	OutcomeUnchanged   Outcome = "unchanged"
)

// Result tells what was done.
type Result struct {
	Name    string  `json:"name"`
	Version string  `json:"version,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Previous is the version before, if any.
	Previous string `json:"previous,omitempty"`
	// Path is what is run for the plugin's name.
	Path string `json:"path,omitempty"`
}

// InstallOptions say what is permitted.
type InstallOptions struct {
	// AllowDowngrade permits an older version than the one installed.
	AllowDowngrade bool
	// AllowChanged permits another content for the version installed.
	AllowChanged bool
	// ReplaceSuite permits a plugin that replaces the suite's own of its name.
	ReplaceSuite bool
}

// Install makes a plugin's version the one that is run. It does nothing when
// that is so already.
func (s Store) Install(ctx context.Context, a Artifact, o InstallOptions) (Result, error) {
	if err := a.check(); err != nil {
		return Result{}, err
	}
	var result Result
	err := s.locked(ctx, func() (err error) {
		result, err = s.install(ctx, a, o)
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("install %s %s: %w", a.Name, a.Version, err)
	}
	return result, nil
}

func (s Store) install(ctx context.Context, a Artifact, o InstallOptions) (Result, error) {
	current, err := s.replaceable(a.Name)
	if err != nil {
		return Result{}, err
	}
	if err := s.CheckReplace(a.Name, o.ReplaceSuite); err != nil {
		return Result{}, err
	}
	result := Result{Name: a.Name, Version: a.Version, Previous: current.Version, Path: s.link(a.Name)}
	if result.Outcome, err = a.compare(current, o); err != nil {
		return result, err
	}
	if result.Outcome == OutcomeUnchanged {
		return result, s.prune(current) // the install before may have been killed before it came to that
	}
	next, err := s.prepare(ctx, a, current)
	if err != nil {
		return Result{}, err
	}
	if err := s.point(next); err != nil {
		return Result{}, err
	}
	return result, s.prune(next)
}

// replaceable is the version that is installed and not broken; its zero value
// when there is none.
func (s Store) replaceable(name string) (Installed, error) {
	current, err := s.Installed(name)
	switch {
	case err == nil:
		return current, nil
	case errors.Is(err, errForeign):
		return Installed{}, err
	}
	return Installed{}, nil
}

// compare says what installing a over the current version means, and refuses what is
// not permitted.
func (a Artifact) compare(current Installed, o InstallOptions) (Outcome, error) {
	if current.Name == "" {
		return OutcomeInstalled, nil
	}
	have, err := semver.StrictNewVersion(current.Version)
	if err != nil {
		return OutcomeRepaired, nil
	}
	want, err := semver.StrictNewVersion(a.Version)
	if err != nil {
		return "", err
	}
	same := a.SHA256 == current.SHA256 && a.bin() == current.bin()
	switch {
	case same && a.Version == current.Version && current.Verify() == nil:
		return OutcomeUnchanged, nil
	case same && a.Version == current.Version:
		return OutcomeRepaired, nil
	case want.LessThan(have) && !o.AllowDowngrade:
		return "", protocol.Invalid("%s is installed, which is newer", current.Version).
			WithHint("to go back: harmony plugin install %s@%s --allow-downgrade, or harmony plugin rollback %s", a.Name, a.Version, a.Name)
	case want.LessThan(have):
		return OutcomeDowngraded, nil
	case a.Version == current.Version && !o.AllowChanged:
		return "", protocol.Invalid("%s is installed with another content (SHA-256 %s, now %s): a version that was published never changes", current.Version, current.SHA256, a.SHA256).
			WithHint("ask who publishes it; harmony plugin uninstall %s makes room for it if it is right", a.Name)
	}
	return OutcomeUpgraded, nil
}

// before is the folder of the version to go back to from a: the one that is
// there, or when that is a itself and broken, the one before it.
func (a Artifact) before(current Installed) string {
	if a.Version == current.Version && a.SHA256 == current.SHA256 {
		return current.Previous
	}
	return current.Folder
}

// prepare makes the version's folder, if it is missing, and notes which version it
// follows.
func (s Store) prepare(ctx context.Context, a Artifact, current Installed) (Installed, error) {
	name := artifact.Folder(a.Version, a.SHA256, slices.Contains(suite.Plugins(), a.Name))
	folder := name
	for n := 1; folder == current.Folder; n++ { // it is broken, but what runs now is not touched
		folder = fmt.Sprintf("%s.%d", name, n)
	}
	next, err := s.version(a.Name, folder)
	if err == nil && next.SHA256 == a.SHA256 && next.bin() == a.bin() && a.admits(next.Executable) == nil && next.Verify() == nil {
		next.Previous = a.before(current)
		return next, next.write(filepath.Join(s.versions(a.Name), folder))
	}
	path := filepath.Join(s.versions(a.Name), folder)
	if err := os.RemoveAll(path); err != nil {
		return Installed{}, err
	}
	temporary, next, err := s.build(ctx, a)
	if err != nil {
		return Installed{}, err
	}
	next.Folder, next.Previous = folder, a.before(current)
	if err = next.write(temporary); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return Installed{}, errors.Join(err, os.RemoveAll(temporary))
	}
	return next, syncFolder(s.versions(a.Name))
}

// build downloads, verifies and unpacks a version into a temporary folder, all
// but its record.
func (s Store) build(ctx context.Context, a Artifact) (temporary string, next Installed, err error) {
	if err := os.MkdirAll(s.versions(a.Name), permFolder); err != nil {
		return "", next, err
	}
	if temporary, err = os.MkdirTemp(s.versions(a.Name), unfinished+"*"); err != nil {
		return "", next, err
	}
	next = Installed{
		Name: a.Name, Version: a.Version, Index: a.Index, Artifact: a.Artifact, Protocol: a.Protocol,
	}
	if next.Executable, err = s.unpack(ctx, a, temporary); err != nil {
		return "", next, errors.Join(err, s.drop(a.Name, temporary))
	}
	return temporary, next, nil
}

// drop removes a temporary folder, and the folder around it where nothing else
// is in it.
func (s Store) drop(name, temporary string) error {
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	if err := os.Remove(s.versions(name)); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// unpack fills the folder, and returns the hash of the executable.
func (s Store) unpack(ctx context.Context, a Artifact, temporary string) (string, error) {
	download, err := os.OpenFile(filepath.Join(s.plugins(), unfinished+"artifact"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer os.Remove(download.Name())
	defer download.Close()
	if err := s.Fetcher.Fetch(ctx, a, download); err != nil {
		return "", err
	}
	files := filepath.Join(temporary, artifact.Files)
	if err := errors.Join(os.Chmod(temporary, permFolder), os.Mkdir(files, permFolder)); err != nil {
		return "", err
	}
	if err := archive.Unpack(ctx, download, files, a.bin(), archive.LimitsFor(a.Size)); err != nil {
		return "", err
	}
	executable := filepath.Join(files, filepath.FromSlash(a.bin()))
	info, err := os.Lstat(executable)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return "", fmt.Errorf("the archive has no executable %s", a.bin())
	}
	if err := os.Chmod(executable, permFolder); err != nil {
		return "", err
	}
	sum, err := artifact.HashFile(executable)
	if err != nil {
		return "", err
	}
	return sum, errors.Join(a.admits(sum), syncFolders(files))
}

// admits holds the executable against the hash that it has to have.
func (a Artifact) admits(executable string) error {
	if a.Executable == "" || a.Executable == executable {
		return nil
	}
	return fmt.Errorf("the executable %s has the SHA-256 %s, not %s of the lock file", a.bin(), executable, a.Executable)
}

// prune removes the versions that are neither run nor the one before.
func (s Store) prune(current Installed) error {
	entries, err := os.ReadDir(s.versions(current.Name))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); name != current.Folder && name != current.Previous {
			if err := s.discard(filepath.Join(s.versions(current.Name), name)); err != nil {
				return fmt.Errorf("%s is installed, but an old version was not removed: %w", current.Name, err)
			}
		}
	}
	return nil
}

// discard removes a folder: first its name, so that no half of it is ever taken
// for a version.
func (s Store) discard(path string) error {
	temporary, err := os.MkdirTemp(s.plugins(), unfinished+"*")
	if err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(temporary, "old")); err != nil {
		return errors.Join(err, os.RemoveAll(temporary))
	}
	return os.RemoveAll(temporary)
}

// Measure downloads and unpacks an artifact, keeps nothing of it, and returns
// the hash of its executable.
func (s Store) Measure(ctx context.Context, a Artifact) (string, error) {
	if err := a.check(); err != nil {
		return "", err
	}
	var sum string
	err := s.locked(ctx, func() error {
		temporary, next, err := s.build(ctx, a)
		if err != nil {
			return err
		}
		sum = next.Executable
		return s.drop(a.Name, temporary)
	})
	return sum, err
}
