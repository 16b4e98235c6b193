package version

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// deadline bounds one run of git.
const deadline = 10 * time.Second

// errNothing says that there is nothing to describe: no git, no repository or
// no commit.
var errNothing = errors.New("nothing to describe")

// repository is a git repository that is read, but not trusted: it may have been
// unpacked from anywhere, and its configuration can name programs to run.
type repository struct {
	dir string
	env []string
}

// open prepares git to read the repository that dir lies in. What a hook or a
// script says of another repository (GIT_DIR and its like) is left out, nothing
// is fetched, and filters that the repository itself defines do not run: a file
// under such a filter counts as changed when git has to look at its content.
func open(ctx context.Context, dir string) (repository, error) {
	r := repository{dir: dir, env: []string{"LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none"}}
	r.env = append(r.env, process.WithoutRepository(process.Environ())...)
	own, err := r.ownFilters(ctx)
	if err != nil {
		return repository{}, err
	}
	safe := []string{"core.fsmonitor=false", "core.hooksPath=" + os.DevNull}
	for _, filter := range own {
		safe = append(safe, filter+".clean=", filter+".process=", filter+".required=false")
	}
	// By the environment, submodules get them too.
	count, _ := strconv.Atoi(os.Getenv("GIT_CONFIG_COUNT")) // 0 when it is not set
	for i, setting := range safe {
		at := strings.LastIndex(setting, "=") // a filter's name may have one
		r.env = append(r.env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", count+i, setting[:at]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", count+i, setting[at+1:]))
	}
	r.env = append(r.env, fmt.Sprintf("GIT_CONFIG_COUNT=%d", count+len(safe)))
	return r, nil
}

// ownFilters are the filters that the repository and its submodules define
// themselves, as filter.NAME.
func (r repository) ownFilters(ctx context.Context) ([]string, error) {
	const pattern = `^filter\..*\.(clean|process)$`
	out, err := r.git(ctx, "config", "-z", "--show-scope", "--get-regexp", pattern)
	if err != nil {
		return nil, err
	}
	var found []string
	fields := strings.Split(out, "\x00") // scope, setting, scope, setting, …
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "local" || fields[i] == "worktree" {
			found = appendFilter(found, fields[i+1])
		}
	}
	folder, err := r.git(ctx, "rev-parse", "--git-common-dir")
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(r.dir, folder)
	}
	err = filepath.WalkDir(filepath.Join(folder, "modules"), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{"objects", "refs", "logs", "hooks", "lfs"}, entry.Name()):
			return fs.SkipDir
		case entry.Name() != "config" && entry.Name() != "config.worktree":
			return nil
		}
		out, err := r.git(ctx, "config", "--file", path, "--includes", "-z", "--get-regexp", pattern)
		for setting := range strings.SplitSeq(out, "\x00") {
			found = appendFilter(found, setting)
		}
		return err
	})
	return found, err
}

// appendFilter adds the filter of a setting, KEY\nCOMMAND. Those of Git LFS are
// left out: they run git-lfs of PATH and nothing else.
func appendFilter(found []string, setting string) []string {
	key, command, _ := strings.Cut(setting, "\n")
	switch command {
	case "", "git-lfs clean -- %f", "git-lfs filter-process", "git-lfs filter-process --skip":
		return found
	}
	return append(found, key[:strings.LastIndex(key, ".")])
}

// git runs git in the repository and returns what it prints, without the last
// line's end.
func (r repository) git(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	out, err := process.Output(ctx, process.Command{Args: append([]string{"git"}, args...), Dir: r.dir, Env: r.env})
	var exit *exec.ExitError
	var failure *process.Error
	switch {
	case err == nil:
		return strings.TrimSpace(string(out)), nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", unreadable(fmt.Errorf("git %s took longer than %s", args[0], deadline))
	case ctx.Err() != nil:
		return "", fmt.Errorf("git %s: %w", args[0], ctx.Err())
	case args[0] == "config" && errors.As(err, &exit) && exit.ExitCode() == 1:
		return "", nil // no such setting
	case errors.Is(err, exec.ErrNotFound) || errors.As(err, &failure) && nothingToDescribe(string(failure.Output)):
		return "", errNothing
	}
	return "", unreadable(fmt.Errorf("git %s: %w: %s", args[0], failure.Err, term.FirstLine(string(failure.Output))))
}

// nothingToDescribe knows what git says outside of a repository and in one
// without a commit; the words differ from version to version.
func nothingToDescribe(stderr string) bool {
	for _, text := range []string{
		"not a git repository (or any", "bad revision 'HEAD'", "Not a valid object name HEAD", "No names found",
	} {
		if strings.Contains(stderr, text) {
			return true
		}
	}
	return false
}

func unreadable(err error) error {
	return &protocol.Error{
		Code: protocol.ExitFailed, Message: "no version from git", Err: err,
		Hint: "name the version with --version",
	}
}
