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

// Outcome is the change that was made to a plugin.
type Outcome string

const (
	OutcomeInstalled   Outcome = "installed"
	OutcomeUpgraded    Outcome = "upgraded"
	OutcomeDowngraded  Outcome = "downgraded"
	OutcomeRepaired    Outcome = "repaired"
	OutcomeRolledBack  Outcome = "rolled-back"
	OutcomeUninstalled Outcome = "uninstalled"
	OutcomeUnchanged   Outcome = "unchanged"
)

// Result describes a change.
type Result struct {
	Name    string  `json:"name"`
	Version string  `json:"version,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Previous is the previous version, if any.
	Previous string `json:"previous,omitempty"`
	// Path is the file that runs for the plugin's name.
	Path string `json:"path,omitempty"`
}

// InstallOptions are permissions.
type InstallOptions struct {
	// AllowDowngrade permits an older version than the installed one.
	AllowDowngrade bool
	// AllowChanged permits different content for the installed version.
	AllowChanged bool
	// ReplaceSuite permits a plugin that replaces the suite's own of its name.
	ReplaceSuite bool
}

// Install makes a plugin's version the active one. It does nothing when it already
// is.
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
	current, err := s.Installed(a.Name)
	if errors.Is(err, errForeign) {
		return Result{}, err
	}
	if err != nil { // none, or a broken one: there is nothing to keep
		current = Installed{}
	}
	if err := s.CheckReplace(a.Name, o.ReplaceSuite); err != nil {
		return Result{}, err
	}
	result := Result{Name: a.Name, Version: a.Version, Previous: current.Version, Path: s.link(a.Name)}
	if result.Outcome, err = a.compare(current, o); err != nil {
		return result, err
	}
	if result.Outcome == OutcomeUnchanged {
		return result, s.prune(current) // the last install may have been killed before that
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

// compare is the outcome of installing a over the current version, or why that is not
// permitted.
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
		return "", protocol.Invalid("the installed version %s is newer", current.Version).
			WithHint("to downgrade: harmony plugin install %s@%s --allow-downgrade, or harmony plugin rollback %s", a.Name, a.Version, a.Name)
	case want.LessThan(have):
		return OutcomeDowngraded, nil
	case a.Version == current.Version && !o.AllowChanged:
		return "", protocol.Invalid("%s is installed with different content (SHA-256 %s, now %s): a published version never changes", current.Version, current.SHA256, a.SHA256).
			WithHint("ask its publisher; if the change is legitimate, run harmony plugin uninstall %s first", a.Name)
	}
	return OutcomeUpgraded, nil
}

// before is the folder that a can roll back to: the current version, or the one
// before it when the current one is a itself, broken.
func (a Artifact) before(current Installed) string {
	if a.Version == current.Version && a.SHA256 == current.SHA256 {
		return current.Previous
	}
	return current.Folder
}

// prepare makes the version's folder, if it is missing, and records which version
// preceded it.
func (s Store) prepare(ctx context.Context, a Artifact, current Installed) (Installed, error) {
	name := artifact.Folder(a.Version, a.SHA256, slices.Contains(suite.Plugins(), a.Name))
	folder := name
	for n := 1; folder == current.Folder; n++ { // it is broken, but a running plugin is not touched
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

// build downloads, verifies and unpacks a version into a temporary folder, without
// its record.
func (s Store) build(ctx context.Context, a Artifact) (temporary string, next Installed, err error) {
	if err := os.MkdirAll(s.versions(a.Name), permFolder); err != nil {
		return "", next, err
	}
	if temporary, err = os.MkdirTemp(s.versions(a.Name), unfinished+"*"); err != nil {
		return "", next, err
	}
	next.Artifact = a
	if next.Executable, err = s.unpack(ctx, a, temporary); err != nil {
		return "", next, errors.Join(err, s.drop(a.Name, temporary))
	}
	return temporary, next, nil
}

// drop removes a temporary folder, and the plugin's folder if that is then empty.
func (s Store) drop(name, temporary string) error {
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	if err := os.Remove(s.versions(name)); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// unpack fills the folder and returns the hash of the executable.
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

// admits compares the executable with its required hash.
func (a Artifact) admits(executable string) error {
	if a.Executable == "" || a.Executable == executable {
		return nil
	}
	return fmt.Errorf("the executable %s has the SHA-256 %s, but the lock file requires %s", a.bin(), executable, a.Executable)
}

// prune removes all versions but the current and the previous one.
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

// discard removes a folder, after renaming it so that a half-removed one is never
// taken for a version.
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

// Measure downloads and unpacks an artifact without keeping it, and returns the hash
// of its executable.
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
