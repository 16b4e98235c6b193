package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nationtech/harmony/internal/cli/term"
)

// Snapshot writes what the repository has at a commit into a folder, which must not exist
// and is the caller's to remove. It has no .git. Neither the work tree, nor the index, nor
// anything else of the repository changes. Submodules that are not checked out are left
// empty, with a warning.
func (r Repository) Snapshot(ctx context.Context, commit, dir string, warn func(string)) error {
	return r.snapshot(ctx, snapshot{commit: commit, warn: warn}, dir)
}

// SnapshotNow is [Repository.Snapshot] of the work tree as it is: the last commit with
// what was changed since, and with new files that are not ignored.
func (r Repository) SnapshotNow(ctx context.Context, dir string, warn func(string)) error {
	return r.snapshot(ctx, snapshot{now: true, commit: "HEAD", warn: warn}, dir)
}

// Changed are the paths, from the top of the work tree on, that differ from the last
// commit: of tracked files and new ones, and of submodules.
func (r Repository) Changed(ctx context.Context) ([]string, error) {
	out, err := r.Feed(ctx, "", "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=none")
	var paths []string
	for entry := range strings.SplitSeq(out, "\x00") {
		if len(entry) > len("XY ") {
			paths = append(paths, entry[len("XY "):])
		}
	}
	return paths, err
}

type snapshot struct {
	commit string
	// now adds what was changed in the work tree.
	now  bool
	warn func(string)
	// path is that of a submodule in the outermost work tree.
	path string
}

func (r Repository) snapshot(ctx context.Context, s snapshot, dir string) error {
	index := dir + ".index"
	defer os.Remove(index)
	own, err := r.Run(ctx, "rev-parse", "--absolute-git-dir")
	if err == nil {
		err = os.Mkdir(dir, 0o777)
	}
	if err != nil {
		return err
	}
	// Git LFS would download; a file that changed has another pointer too.
	out := r.With("GIT_DIR="+own, "GIT_WORK_TREE="+dir, "GIT_INDEX_FILE="+index, "GIT_LFS_SKIP_SMUDGE=1")
	out.Dir = dir
	if _, err := out.Run(ctx, "-c", "core.sparseCheckout=false", "read-tree", s.commit); err != nil {
		return err
	}
	if _, err := out.Run(ctx, "checkout-index", "--all", "--quiet"); err != nil {
		return err
	}
	submodules, err := out.submodules(ctx)
	if err != nil {
		return err
	}
	if s.now {
		if err := r.overlay(ctx, dir, submodules); err != nil {
			return err
		}
	}
	for path, commit := range submodules {
		if err := r.submodule(ctx, s, dir, path, commit); err != nil {
			return err
		}
	}
	return nil
}

// submodules are those of an index, by path, each with its commit.
func (r Repository) submodules(ctx context.Context) (map[string]string, error) {
	out, err := r.Feed(ctx, "", "ls-files", "--stage", "-z")
	found := map[string]string{}
	for entry := range strings.SplitSeq(out, "\x00") {
		about, path, _ := strings.Cut(entry, "\t")
		if fields := strings.Fields(about); len(fields) == 3 && fields[0] == "160000" {
			found[path] = fields[1]
		}
	}
	return found, err
}

func (r Repository) submodule(ctx context.Context, s snapshot, dir, path, commit string) error {
	s.path = filepath.Join(s.path, filepath.FromSlash(path))
	from := filepath.Join(Top(r.Dir), filepath.FromSlash(path))
	if _, err := os.Lstat(filepath.Join(from, ".git")); err != nil {
		s.warn(fmt.Sprintf("the submodule %s is not checked out, so changes in it are not seen: git submodule update --init --recursive", term.OneLine(s.path)))
		return nil
	}
	sub, err := Open(ctx, from)
	if err != nil {
		return fmt.Errorf("submodule %s: %w", s.path, err)
	}
	if !s.now {
		s.commit = commit
		if _, err := sub.Run(ctx, "cat-file", "-e", commit+"^{commit}"); err != nil {
			return fmt.Errorf("submodule %s: it does not have the commit %s; fetch its whole history: git submodule foreach git fetch --unshallow", s.path, commit)
		}
	}
	target := filepath.Join(dir, filepath.FromSlash(path))
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return err
	}
	if err := sub.snapshot(ctx, s, target); err != nil {
		return fmt.Errorf("submodule %s: %w", s.path, err)
	}
	return nil
}

// overlay brings what was changed in the work tree into a snapshot of the last commit.
func (r Repository) overlay(ctx context.Context, dir string, submodules map[string]string) error {
	changed, err := r.Changed(ctx)
	if err != nil {
		return err
	}
	top, err := os.OpenRoot(Top(r.Dir))
	if err != nil {
		return err
	}
	defer top.Close()
	to, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	for _, path := range changed {
		if submodules[path] != "" || strings.HasSuffix(path, "/") { // the latter is a repository of its own
			continue
		}
		path = filepath.FromSlash(path)
		if err := errors.Join(ctx.Err(), to.RemoveAll(path)); err != nil {
			return err
		}
		if err := replace(top, to, path); err != nil {
			return err
		}
	}
	return nil
}

// replace copies a file or link; a missing one is not copied.
func replace(from, to *os.Root, path string) error {
	info, err := from.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	if err := to.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		target, err := from.Readlink(path)
		if err != nil {
			return err
		}
		return to.Symlink(target, path)
	}
	if !info.Mode().IsRegular() {
		return nil // git does not know it either
	}
	// The same modes as in a checkout.
	mode := fs.FileMode(0o666)
	if info.Mode()&0o100 != 0 {
		mode = 0o777
	}
	in, err := from.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := to.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
