package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Rollback makes the version before the one that is run.
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
			return protocol.Invalid("plugin %s: there is no version before %s", name, current.Version)
		}
		previous, err := s.version(name, current.Previous)
		if err == nil {
			err = previous.Verify()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return protocol.Invalid("plugin %s: the version before %s is gone", name, current.Version).
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
		result.Previous = current.Version // a broken one has none to tell
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
