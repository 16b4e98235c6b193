// Package git reads git repositories that are not trusted: they may have been unpacked from
// anywhere, and their configuration can name programs to run.
package git

import (
	"bytes"
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
)

// deadline bounds one run of git. It is there for one that hangs: a busy machine may take
// its time.
const deadline = 2 * time.Minute

// ErrNothing says that there is nothing to read: no git, no repository or no commit.
var ErrNothing = errors.New("no git repository with a commit")

// Repository is a git repository that is read.
type Repository struct {
	// Dir is a folder of the work tree.
	Dir string
	// Shallow is true for a clone without the whole history.
	Shallow bool

	env []string
}

// Open prepares git to read the repository that dir lies in. What a hook or a
// script says of another repository (GIT_DIR and its like) is left out, nothing
// is fetched, and filters that the repository itself defines do not run: a file
// under such a filter counts as changed when git has to look at its content.
func Open(ctx context.Context, dir string) (Repository, error) {
	r := Repository{Dir: dir, env: []string{"LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none"}}
	r.env = append(r.env, process.WithoutRepository(process.Environ())...)
	own, err := r.inspect(ctx)
	if err != nil {
		return Repository{}, err
	}
	safe := []string{"core.fsmonitor=false", "core.hooksPath=" + os.DevNull}
	for _, filter := range own {
		safe = append(safe, filter+".clean=", filter+".smudge=", filter+".process=", filter+".required=false")
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

// Top is the top of the work tree that a folder lies in, or "" outside of any.
func Top(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// With is the repository for a git with further variables in its environment.
func (r Repository) With(variables ...string) Repository {
	r.env = slices.Concat(r.env, variables)
	return r
}

// inspect sets Shallow, and returns the filters that the repository and its submodules
// define themselves, as filter.NAME.
func (r *Repository) inspect(ctx context.Context) ([]string, error) {
	const pattern = `^filter\..*\.(clean|smudge|process)$`
	out, err := r.Run(ctx, "config", "-z", "--show-scope", "--get-regexp", pattern)
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
	out, err = r.Run(ctx, "rev-parse", "--is-shallow-repository", "--git-common-dir")
	if err != nil {
		return nil, err
	}
	shallow, folder, _ := strings.Cut(out, "\n")
	r.Shallow = shallow == "true"
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(r.Dir, folder)
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
		out, err := r.Run(ctx, "config", "--file", path, "--includes", "-z", "--get-regexp", pattern)
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
	case "", "git-lfs clean -- %f", "git-lfs smudge -- %f", "git-lfs smudge --skip -- %f", "git-lfs filter-process", "git-lfs filter-process --skip":
		return found
	}
	return append(found, key[:strings.LastIndex(key, ".")])
}

// Run runs git in the repository and returns what it prints, without white space around it.
func (r Repository) Run(ctx context.Context, args ...string) (string, error) {
	out, err := r.Feed(ctx, "", args...)
	return strings.TrimSpace(out), err
}

// Feed runs git with a text on its stdin, and returns everything that it prints.
func (r Repository) Feed(ctx context.Context, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	out, err := process.Output(ctx, process.Command{Args: append([]string{"git"}, args...), Dir: r.Dir, Env: r.env, Stdin: strings.NewReader(stdin)})
	var exit *exec.ExitError
	if err != nil && args[0] == "config" && errors.As(err, &exit) && exit.ExitCode() == 1 {
		return "", nil // no such setting
	}
	return string(out), explain(ctx, args[0], err)
}

// errEnough ends a git whose further lines are not needed.
var errEnough = errors.New("enough")

// Lines runs git and hands over each line that it prints, without its end, until one of
// them is not followed by more.
func (r Repository) Lines(ctx context.Context, line func(string) (more bool), args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	command := append([]string{"git"}, args...)
	stderr := &process.Tail{Limit: 64 << 10}
	lines := &lines{line: line}
	err := process.Run(ctx, process.Command{Args: command, Dir: r.Dir, Env: r.env, Stdout: lines, Stderr: stderr})
	if errors.Is(err, errEnough) {
		return nil
	}
	if err != nil {
		err = &process.Error{Args: command, Output: stderr.Bytes(), Err: err}
	}
	return explain(ctx, args[0], err)
}

// lines splits what git writes, and is an error once there were enough of them.
type lines struct {
	line func(string) (more bool)
	rest []byte
}

// Write implements [io.Writer].
func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		l.rest = rest
		if !l.line(string(line)) {
			return 0, errEnough
		}
	}
}

// explain is the error of a run, in the words of git.
func explain(ctx context.Context, command string, err error) error {
	var failure *process.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("git %s took longer than %s", command, deadline)
	case ctx.Err() != nil:
		return fmt.Errorf("git %s: %w", command, ctx.Err())
	case !errors.As(err, &failure):
		return fmt.Errorf("git %s: %w", command, err)
	case errors.Is(err, exec.ErrNotFound), isNothing(string(failure.Output)):
		return ErrNothing
	}
	return fmt.Errorf("git %s: %w: %s", command, failure.Err, term.FirstLine(string(failure.Output)))
}

// isNothing knows what git says outside of a repository and in one without a commit; the
// words differ from version to version.
func isNothing(stderr string) bool {
	for _, text := range []string{
		"not a git repository (or any", "bad revision 'HEAD'", "Not a valid object name HEAD", "No names found",
	} {
		if strings.Contains(stderr, text) {
			return true
		}
	}
	return false
}
