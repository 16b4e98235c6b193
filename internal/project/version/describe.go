package version

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// none is the version where there is no git or no commit to tell more.
	none = "0.0.0-dev"
	// deadline bounds one run of git.
	deadline = 10 * time.Second
	// maxSkipped is how many tags that hold no version Describe passes over.
	maxSkipped = 20
)

// Describe is the version of what lies in dir, as git knows it from the tags
// <app>-v<version>:
//
//   - 1.4.0 on a tag, with no change since;
//   - 1.4.1-dev.3.g0a1b2c3d4e5f three commits after 1.4.0, and with .dirty at
//     the end when a tracked file has changed since;
//   - 1.4.0-rc.1.dev.3.g0a1b2c3d4e5f three commits after 1.4.0-rc.1;
//   - 0.0.0-dev.7.g0a1b2c3d4e5f after seven commits without a tag;
//   - 0.0.0-dev where there is no repository, no commit or no git.
//
// Such a version sorts after the tag that it comes from and before the next,
// and [IsDevelopment] knows it. Any other trouble with git is an error.
func Describe(ctx context.Context, dir, app string) (string, error) {
	var skip []string
	for range maxSkipped {
		state, err := describe(ctx, dir, app, skip)
		if errors.Is(err, errNothing) {
			return none, nil
		}
		if err != nil {
			return "", err
		}
		if state.tag == "" {
			return untagged(ctx, dir, state)
		}
		if base, err := semver.StrictNewVersion(strings.TrimPrefix(state.tag, app+"-v")); err == nil {
			return state.version(*base), nil
		}
		skip = append(skip, state.tag)
	}
	return "", unreadable(fmt.Errorf("the last %d tags %s-v… hold no semantic version, the newest is %s", maxSkipped, app, skip[0]))
}

// IsDevelopment reports whether a version is one that Describe made up: an
// identifier of its pre-release is dev.
func IsDevelopment(v semver.Version) bool {
	return slices.Contains(strings.Split(v.Prerelease(), "."), "dev")
}

// state is what git describe tells.
type state struct {
	tag     string // "" when there is none
	commits string // since the tag
	sha     string // abbreviated
	dirty   bool
}

// errNothing says that there is nothing to describe: no git, no repository or
// no commit.
var errNothing = errors.New("nothing to describe")

func describe(ctx context.Context, dir, app string, skip []string) (state, error) {
	// Not only -v*: fleet-v2-v1.0.0 is a tag of fleet-v2, not of fleet.
	args := []string{"describe", "--tags", "--match", app + "-v[0-9]*.*", "--long", "--dirty", "--always", "--abbrev=12"}
	for _, tag := range skip {
		args = append(args, "--exclude", tag)
	}
	out, err := git(ctx, dir, args...)
	if err != nil {
		return state{}, err
	}
	out, dirty := strings.CutSuffix(out, "-dirty")
	match := regexp.MustCompile(`^(?:(.+)-([0-9]+)-g)?([0-9a-f]+)$`).FindStringSubmatch(out)
	if match == nil {
		return state{}, unreadable(fmt.Errorf("git describe: %q is not what was expected", out))
	}
	return state{tag: match[1], commits: match[2], sha: match[3], dirty: dirty}, nil
}

// version is the version of a state whose tag holds base.
func (s state) version(base semver.Version) string {
	if s.commits == "0" && !s.dirty {
		return base.String()
	}
	if base.Prerelease() != "" {
		return fmt.Sprintf("%d.%d.%d-%s.%s", base.Major(), base.Minor(), base.Patch(), base.Prerelease(), s.development())
	}
	return base.IncPatch().String() + "-" + s.development()
}

// development is the pre-release of a build without a tag. The g keeps a commit
// that is all digits from being a number, which must not begin with a zero.
func (s state) development() string {
	text := "dev." + s.commits + ".g" + s.sha
	if s.dirty {
		text += ".dirty"
	}
	return text
}

// untagged counts the commits, which git describe does not do without a tag.
func untagged(ctx context.Context, dir string, s state) (string, error) {
	var err error
	if s.commits, err = git(ctx, dir, "rev-list", "--count", "HEAD"); err != nil {
		return "", err
	}
	return "0.0.0-" + s.development(), nil
}

// git runs git in dir and returns its only line of output.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	// A repository's configuration may name an fsmonitor, a program to run.
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.fsmonitor=false"}, args...)...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	cmd.Env = append(os.Environ(), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return strings.TrimSpace(stdout.String()), nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", unreadable(fmt.Errorf("git %s took longer than %s", args[0], deadline))
	case ctx.Err() != nil:
		return "", fmt.Errorf("git %s: %w", args[0], ctx.Err())
	case errors.Is(err, exec.ErrNotFound) || nothingToDescribe(stderr.String()):
		return "", errNothing
	}
	return "", unreadable(fmt.Errorf("git %s: %w: %s", args[0], err, firstLine(stderr.String())))
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

// firstLine is the first line of a program's complaint, without control
// characters.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, line)
}
