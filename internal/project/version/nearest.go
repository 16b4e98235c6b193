package version

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/project/git"
)

// Tag is a tag <app>-v<version>.
type Tag struct {
	App     string
	Version *semver.Version
	// Commit that it stands for, in hex.
	Commit string
}

// Tags are the tags of the repository that have the name of an app and a semantic version.
func Tags(ctx context.Context, r git.Repository, apps []string) ([]Tag, error) {
	known := make(map[string]bool, len(apps))
	for _, app := range apps {
		known[app] = true
	}
	found := map[string]Tag{}
	err := r.Lines(ctx, func(line string) bool {
		// Of an annotated tag, a second line with ^{} has the commit.
		commit, ref, _ := strings.Cut(line, " ")
		name := strings.TrimSuffix(strings.TrimPrefix(ref, "refs/tags/"), "^{}")
		for i := range name {
			// fleet-v2-v1.0.0 is a tag of fleet-v2, not of fleet.
			if !strings.HasPrefix(name[i:], "-v") || !known[name[:i]] {
				continue
			}
			if v, err := semver.StrictNewVersion(name[i+len("-v"):]); err == nil {
				found[name] = Tag{name[:i], v, commit}
			}
		}
		return true
	}, "show-ref", "--tags", "--dereference")
	if isExit(err, 1) {
		return nil, nil // no tags
	}
	tags := make([]Tag, 0, len(found))
	for _, tag := range found {
		tags = append(tags, tag)
	}
	return tags, err
}

func isExit(err error, code int) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == code
}

// maxCandidates is how many releases of an app are compared, as git describe does.
const maxCandidates = 10

// candidate is a release that may be the nearest one.
type candidate struct {
	version *semver.Version
	commit  string
	// commits are those that have been made since it, as far as they were seen.
	commits int
	// bit is its place in the flags of a commit, and outside how many commits
	// that are still to be visited do not lead to it.
	bit, outside int
}

// Releases are the nearest releases of those apps that have one among the tags: the last
// ones before a commit, or on it.
func Releases(ctx context.Context, r git.Repository, tags []Tag, commit string, apps ...string) (map[string]Tag, error) {
	nearest, _, err := find(ctx, r, tags, commit, apps)
	found := make(map[string]Tag, len(nearest))
	for app, c := range nearest {
		found[app] = Tag{app, c.version, c.commit}
	}
	return found, err
}

// walk visits commits from the newest one on, until it is known which release of each app
// is the nearest: the one with the fewest commits since.
type walk struct {
	tags map[string]map[string]*semver.Version // by commit and app, the highest ones
	// ahead are the commits to be visited, each with the candidates that it is part of.
	ahead map[string]flags
	// waiting are the apps of which the nearest release is not known, each with its
	// candidates, and nearest are those of which it is.
	waiting map[string][]*candidate
	nearest map[string]*candidate
	bits    int
	count   int
}

// find is the nearest release of each app that has one, seen from a commit, and how many
// commits there are if an app has none.
func find(ctx context.Context, r git.Repository, tags []Tag, from string, apps []string) (nearest map[string]*candidate, count int, err error) {
	w := walk{tags: map[string]map[string]*semver.Version{}, ahead: map[string]flags{}, waiting: map[string][]*candidate{}, nearest: map[string]*candidate{}}
	for _, app := range apps {
		w.waiting[app] = nil
	}
	for _, tag := range tags {
		at := w.tags[tag.Commit]
		if at == nil {
			at = map[string]*semver.Version{}
			w.tags[tag.Commit] = at
		}
		// git describe prefers an annotated release candidate to the final release's
		// lightweight tag.
		if best := at[tag.App]; best == nil || tag.Version.GreaterThan(best) {
			at[tag.App] = tag.Version
		}
	}
	if err := r.Lines(ctx, w.visit, "rev-list", "--parents", from); err != nil {
		return nil, 0, err
	}
	for app, list := range w.waiting {
		if len(list) > 0 {
			w.nearest[app] = fewest(list)
		}
	}
	return w.nearest, w.count, nil
}

// visit takes a line of rev-list, a commit and its parents, and reports whether more are
// needed.
func (w *walk) visit(line string) bool {
	commits := strings.Fields(line)
	own := w.ahead[commits[0]]
	w.leave(commits[0], own)
	own = w.releases(commits[0], own)
	for _, list := range w.waiting {
		for _, c := range list {
			if !own.has(c.bit) {
				c.commits++
			}
		}
	}
	w.count++
	for _, parent := range commits[1:] {
		w.enter(parent, own)
	}
	w.settle()
	return len(w.waiting) > 0
}

// leave takes a commit from those that are to be visited.
func (w *walk) leave(commit string, own flags) {
	if _, ok := w.ahead[commit]; !ok {
		return
	}
	delete(w.ahead, commit)
	for _, list := range w.waiting {
		for _, c := range list {
			if !own.has(c.bit) {
				c.outside--
			}
		}
	}
}

// enter adds a commit to those that are to be visited, as a parent of one with flags.
func (w *walk) enter(commit string, of flags) {
	before, known := w.ahead[commit]
	w.ahead[commit] = before.with(of)
	for _, list := range w.waiting {
		for _, c := range list {
			switch {
			case !known && !of.has(c.bit):
				c.outside++
			case known && of.has(c.bit) && !before.has(c.bit):
				c.outside--
			}
		}
	}
}

// releases makes candidates of the tags on a commit.
func (w *walk) releases(commit string, own flags) flags {
	for app, v := range w.tags[commit] {
		list, waits := w.waiting[app]
		if !waits || len(list) == maxCandidates {
			continue
		}
		// All commits so far have been made since, but for this one.
		w.waiting[app] = append(list, &candidate{version: v, commit: commit, commits: w.count, bit: w.bits, outside: len(w.ahead)})
		own = own.with(bit(w.bits))
		w.bits++
	}
	return own
}

// settle notes the apps of which no other release can be nearer than the best one.
func (w *walk) settle() {
	for app, list := range w.waiting {
		if len(list) == 0 {
			continue
		}
		if best := fewest(list); best.outside == 0 {
			w.nearest[app] = best
			delete(w.waiting, app)
		}
	}
}

// fewest is the candidate with the fewest commits since, the first of several.
func fewest(list []*candidate) *candidate {
	return slices.MinFunc(list, func(a, b *candidate) int { return a.commits - b.commits })
}

// flags is a set of candidates. It is not changed once it is made.
type flags []uint64

func bit(n int) flags {
	f := make(flags, n/64+1)
	f[n/64] = 1 << (n % 64)
	return f
}

func (f flags) has(n int) bool { return n/64 < len(f) && f[n/64]&(1<<(n%64)) != 0 }

// with is the union of two sets.
func (f flags) with(g flags) flags {
	if len(f) < len(g) {
		f, g = g, f
	}
	for i := range g {
		if g[i]&^f[i] != 0 {
			union := slices.Clone(f)
			for i := range g {
				union[i] |= g[i]
			}
			return union
		}
	}
	return f
}
