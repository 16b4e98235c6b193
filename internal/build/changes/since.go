package changes

import (
	"cmp"
	"context"
	"strings"

	"github.com/nationtech/harmony/internal/project/version"
	"github.com/nationtech/harmony/pkg/protocol"
)

// since is the commit that an app is compared with.
type since struct {
	// commit is "" for an app that was never released.
	commit string
	// release is the version that is on the commit, if it was chosen for that.
	release string
}

// bases are the commits that the apps are compared with: the one that ref is about, or, if
// there is no ref, the one that a pull request is about, or else the last release of each.
func (p *project) bases(ctx context.Context, ref string, names []string) (map[string]since, error) {
	ref = cmp.Or(ref, p.pullRequest())
	all := make(map[string]since, len(names))
	if ref != "" {
		commit, err := p.mergeBase(ctx, ref)
		for _, name := range names {
			all[name] = since{commit: commit}
		}
		return all, err
	}
	tags, err := version.Tags(ctx, p.repository, names)
	if err != nil {
		return nil, err
	}
	releases, err := version.Releases(ctx, p.repository, tags, "HEAD", names...)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		release, ok := releases[name]
		switch {
		case ok:
			all[name] = since{release.Commit, release.Version.String()}
		case p.repository.Shallow:
			return nil, protocol.Invalid("the last release of %s is not known: this clone is shallow and has no tag %[1]s-v…", name).
				WithHint("%s; or name a commit with --since", version.WholeHistory)
		default:
			all[name] = since{}
		}
	}
	return all, nil
}

// pullRequest is the branch, or commit, that a CI system says a pull request is for.
func (p *project) pullRequest() string {
	if commit := p.getenv("CI_MERGE_REQUEST_DIFF_BASE_SHA"); commit != "" { // GitLab
		return commit
	}
	// GitHub, Gitea and Forgejo; Woodpecker.
	if branch := cmp.Or(p.getenv("GITHUB_BASE_REF"), p.getenv("CI_COMMIT_TARGET_BRANCH")); branch != "" {
		return "refs/remotes/origin/" + branch
	}
	return ""
}

// mergeBase is the commit at which the history of HEAD left that of ref: what others did to
// ref since is no change of this one.
func (p *project) mergeBase(ctx context.Context, ref string) (string, error) {
	commit, err := p.commit(ctx, ref)
	if err != nil {
		return "", err
	}
	base, err := p.repository.Run(ctx, "merge-base", commit, "HEAD")
	if err != nil || base == "" {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", p.missing("%s and the commit that is checked out have no common history", ref)
	}
	return base, nil
}

// commit is the commit of a branch, tag or other name.
func (p *project) commit(ctx context.Context, ref string) (string, error) {
	if strings.HasPrefix(ref, "-") {
		return "", protocol.Invalid("%q is not a commit", ref)
	}
	commit, err := p.repository.Run(ctx, "rev-parse", "--verify", "--quiet", ref+"^{commit}")
	if err != nil || commit == "" {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", p.missing("this repository has no commit %q", ref)
	}
	return commit, nil
}

// missing is the error for a commit that is not there.
func (p *project) missing(format string, args ...any) error {
	err := protocol.Invalid(format, args...)
	if p.repository.Shallow {
		return protocol.Invalid("%w: this clone is shallow", err).WithHint("%s", version.WholeHistory)
	}
	return err.WithHint("name a commit, branch or tag that is here; 'git fetch origin' gets those of the server")
}
