package version

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

const (
	// none is the version without git or without a commit.
	none = "0.0.0-dev"
	// maxSkipped is how many tags without a version Describe skips.
	maxSkipped = 20
)

// Describe is the version of the content of dir, by git's tags <app>-v<version>, with a
// warning when missing history could change it:
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
// repository's own configuration names are not run.
func Describe(ctx context.Context, dir, app string) (version, warning string, err error) {
	r, err := open(ctx, dir)
	if err == nil {
		version, warning, err = r.describe(ctx, app)
	}
	if errors.Is(err, errNothing) {
		return none, "", nil
	}
	return version, warning, err
}

func (r repository) describe(ctx context.Context, app string) (version, warning string, err error) {
	var skip []string
	for range maxSkipped {
		state, err := r.nearest(ctx, app, skip)
		if err != nil {
			return "", "", err
		}
		if state.tag == "" {
			return r.untagged(ctx, app, state)
		}
		base, err := r.highest(ctx, app, state.tag)
		switch {
		case err != nil:
			return "", "", err
		case base != nil:
			return state.version(base), "", nil
		}
		skip = append(skip, state.tag)
	}
	return "", "", unreadable(fmt.Errorf("none of the last %d tags %s-v… has a semantic version, the newest is %s", maxSkipped, app, skip[0]))
}

// highest is the highest version of the app among the tags on the commit of
// tag: git describe prefers an annotated release candidate to the final
// release's lightweight tag. It is nil when none of them is a version.
func (r repository) highest(ctx context.Context, app, tag string) (*semver.Version, error) {
	tags, err := r.git(ctx, "tag", "--points-at", tag+"^{commit}", "--list", app+"-v*")
	if err != nil {
		return nil, err
	}
	var best *semver.Version
	for tag := range strings.Lines(tags) {
		v, err := semver.StrictNewVersion(strings.TrimPrefix(strings.TrimSpace(tag), app+"-v"))
		if err == nil && (best == nil || v.GreaterThan(best)) {
			best = v
		}
	}
	return best, nil
}

// IsDevelopment reports whether a version is one that Describe made up: an
// identifier of its pre-release is dev.
func IsDevelopment(v semver.Version) bool {
	return slices.Contains(strings.Split(v.Prerelease(), "."), "dev")
}

// state is the output of git describe.
type state struct {
	tag     string // "" when there is none
	commits string // since the tag
	sha     string // abbreviated
	dirty   bool
}

// nearest is the nearest tag of the app, but for those to skip.
func (r repository) nearest(ctx context.Context, app string, skip []string) (state, error) {
	// Not only -v*: fleet-v2-v1.0.0 is a tag of fleet-v2, not of fleet.
	args := []string{"describe", "--tags", "--match", app + "-v[0-9]*.*", "--long", "--dirty", "--always", "--abbrev=12"}
	for _, tag := range skip {
		args = append(args, "--exclude", tag)
	}
	out, err := r.git(ctx, args...)
	if err != nil {
		return state{}, err
	}
	out, dirty := strings.CutSuffix(out, "-dirty")
	match := regexp.MustCompile(`^(?:(.+)-([0-9]+)-g)?([0-9a-f]+)$`).FindStringSubmatch(out)
	if match == nil {
		return state{}, unreadable(fmt.Errorf("git describe: unexpected output %q", out))
	}
	return state{tag: match[1], commits: match[2], sha: match[3], dirty: dirty}, nil
}

// version is the version of a state whose tag is that of base.
func (s state) version(base *semver.Version) string {
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
func (r repository) untagged(ctx context.Context, app string, s state) (version, warning string, err error) {
	out, err := r.git(ctx, "rev-list", "--count", "HEAD")
	if err != nil {
		return "", "", err
	}
	s.commits = out
	shallow, err := r.git(ctx, "rev-parse", "--is-shallow-repository")
	if err != nil {
		return "", "", err
	}
	version = "0.0.0-" + s.development()
	if shallow == "true" {
		warning = fmt.Sprintf("the version of %s is %s because this clone is shallow and has no tag %s-v…: fetch the whole history (GitHub and Gitea: fetch-depth: 0 of actions/checkout; GitLab: GIT_DEPTH: 0)", app, version, app)
	}
	return version, warning, nil
}
