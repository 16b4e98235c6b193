package version

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/project/git"
	"github.com/nationtech/harmony/pkg/protocol"
)

// none is the version without git or without a commit.
const none = "0.0.0-dev"

// Described is the version of an app.
type Described struct {
	Version string
	// Warning says why missing history could change it, if it could.
	Warning string
}

// Describe is the version of each app of the repository that dir lies in, by git's tags
// <app>-v<version>:
//
//   - 1.4.0 on a tag, with no change since; the highest one when several tags
//     are on the commit;
//   - 1.4.1-dev.3.g0a1b2c3d4e5f three commits after 1.4.0, and with .dirty at
//     the end when a tracked file has changed since;
//   - 1.4.0-rc.1.dev.3.g0a1b2c3d4e5f three commits after 1.4.0-rc.1;
//   - 0.0.0-dev.7.g0a1b2c3d4e5f after seven commits without a tag;
//   - 0.0.0-dev without a repository, a commit or git.
//
// Such a version sorts after the tag that it comes from and before the next, and
// [IsDevelopment] recognizes it. Any other failure of git is an error. Programs that the
// repository's own configuration names are not run. However many apps there are, git is
// run a few times.
func Describe(ctx context.Context, dir string, apps []string) ([]Described, error) {
	described, err := describe(ctx, dir, apps)
	switch {
	case errors.Is(err, git.ErrNothing):
		return slices.Repeat([]Described{{Version: none}}, len(apps)), nil
	case err != nil:
		return nil, &protocol.Error{
			Code: protocol.ExitCode(err), Message: "no version from git", Err: err,
			Hint: "name the version with --version",
		}
	}
	return described, nil
}

func describe(ctx context.Context, dir string, apps []string) ([]Described, error) {
	r, err := git.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	// Without any tag that is the commit.
	sha, err := r.Run(ctx, "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty")
	if err != nil {
		return nil, err
	}
	var s state
	s.sha, s.dirty = strings.CutSuffix(sha, "-dirty")
	tags, err := Tags(ctx, r, apps)
	if err != nil {
		return nil, err
	}
	nearest, count, err := find(ctx, r, tags, "HEAD", apps)
	if err != nil {
		return nil, err
	}
	described := make([]Described, len(apps))
	for i, app := range apps {
		if found := nearest[app]; found != nil {
			described[i].Version = s.version(found)
			continue
		}
		described[i].Version = "0.0.0-" + s.development(count)
		if r.Shallow {
			described[i].Warning = fmt.Sprintf("the version of %s is %s because this clone is shallow and has no tag %s-v…: %s", app, described[i].Version, app, WholeHistory)
		}
	}
	return described, nil
}

// WholeHistory says how to get it.
const WholeHistory = "fetch the whole history (GitHub and Gitea: fetch-depth: 0 of actions/checkout; GitLab: GIT_DEPTH: 0)"

// IsDevelopment reports whether a version is one that Describe made up: an
// identifier of its pre-release is dev.
func IsDevelopment(v semver.Version) bool {
	return slices.Contains(strings.Split(v.Prerelease(), "."), "dev")
}

// state is what is the same for all apps.
type state struct {
	sha   string // abbreviated
	dirty bool
}

// version is the version of a state with this nearest release.
func (s state) version(nearest *candidate) string {
	base := nearest.version
	if nearest.commits == 0 && !s.dirty {
		return base.String()
	}
	if base.Prerelease() != "" {
		return fmt.Sprintf("%d.%d.%d-%s.%s", base.Major(), base.Minor(), base.Patch(), base.Prerelease(), s.development(nearest.commits))
	}
	return base.IncPatch().String() + "-" + s.development(nearest.commits)
}

// development is the pre-release of a build without a tag. The g keeps a commit
// that is all digits from being a number, which must not begin with a zero.
func (s state) development(commits int) string {
	text := fmt.Sprintf("dev.%d.g%s", commits, s.sha)
	if s.dirty {
		text += ".dirty"
	}
	return text
}
