package changes

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/project/version"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Changelog is what happened to an app between two versions.
type Changelog struct {
	App string `json:"app"`
	// Since is the version before; none when the app had no release.
	Since string `json:"since,omitempty"`
	// Until is the version; none when it has not been released.
	Until string `json:"until,omitempty"`
	// Commits are those that touched an input, the newest first. Merge commits are
	// left out.
	Commits []Commit `json:"commits"`

	from, to string // commits
}

// span is a changelog without its commits: the two versions of an app, each of which may
// be chosen here.
func (p *project) span(ctx context.Context, app, since, until string) (Changelog, error) {
	log := Changelog{App: app, Commits: []Commit{}}
	if p.repository.Shallow {
		return log, protocol.Invalid("this clone is shallow, so the commits of %s are not all here", app).WithHint("%s", version.WholeHistory)
	}
	tags, err := version.Tags(ctx, p.repository, []string{app})
	if err != nil {
		return log, err
	}
	if log.to, err = p.repository.Run(ctx, "rev-parse", "HEAD"); err != nil {
		return log, err
	}
	var last *version.Tag
	if until != "" {
		if last, err = release(app, until, tags); err != nil {
			return log, err
		}
	} else if at := slices.DeleteFunc(slices.Clone(tags), func(t version.Tag) bool { return t.Commit != log.to }); len(at) > 0 {
		highest := slices.MaxFunc(at, func(a, b version.Tag) int { return a.Version.Compare(b.Version) })
		last = &highest
	}
	if last != nil {
		log.Until, log.to = last.Version.String(), last.Commit
	}
	var first *version.Tag
	if since != "" {
		first, err = release(app, since, tags)
	} else {
		first, err = p.releaseBefore(ctx, app, tags, log.to, last)
	}
	if first != nil {
		log.Since, log.from = first.Version.String(), first.Commit
	}
	return log, err
}

// releaseBefore is the release before a commit that may be one itself. Before a final
// version it is the final one before.
func (p *project) releaseBefore(ctx context.Context, app string, tags []version.Tag, commit string, own *version.Tag) (*version.Tag, error) {
	earlier := slices.DeleteFunc(slices.Clone(tags), func(t version.Tag) bool {
		return t.Commit == commit || own != nil && own.Version.Prerelease() == "" && t.Version.Prerelease() != ""
	})
	found, err := version.Releases(ctx, p.repository, earlier, commit, app)
	if before, ok := found[app]; ok {
		return &before, err
	}
	return nil, err
}

// release is the tag of a version, which may be given as a tag too.
func release(app, text string, tags []version.Tag) (*version.Tag, error) {
	v, err := semver.StrictNewVersion(strings.TrimPrefix(strings.TrimPrefix(text, app+"-"), "v"))
	if err != nil {
		return nil, protocol.Invalid("%q is not a version of %s such as 1.4.0", text, app)
	}
	for _, tag := range tags {
		if tag.Version.String() == v.String() {
			return &tag, nil
		}
	}
	missing := protocol.Invalid("%s has no release %s: there is no tag %[1]s-v%[2]s", app, v)
	if len(tags) == 0 {
		return nil, missing.WithHint("it has no release at all; 'git fetch --tags' gets those of the server")
	}
	slices.SortFunc(tags, func(a, b version.Tag) int { return b.Version.Compare(a.Version) })
	var names []string
	for _, tag := range tags[:min(len(tags), 5)] {
		names = append(names, tag.Version.String())
	}
	return nil, missing.WithHint("the last ones are %s", strings.Join(names, ", "))
}

// fill adds the commits that touched an input: a file that is read for the version before
// or for the later one, under the names that it had, or the AppSpec.
func (p *project) fill(ctx context.Context, log *Changelog) error {
	paths, err := p.inputPaths(ctx, log)
	if err != nil {
		return err
	}
	span := log.to
	if log.from != "" {
		span = log.from + ".." + log.to
	}
	if err := p.earlierNames(ctx, span, paths); err != nil {
		return err
	}
	delete(paths, filepath.ToSlash(p.file))
	touched, err := p.touching(ctx, span, slices.Sorted(maps.Keys(paths)))
	if err != nil {
		return err
	}
	projects, err := p.touching(ctx, span, []string{filepath.ToSlash(p.file)})
	if err != nil {
		return err
	}
	for commit := range projects {
		if !touched[commit] && !reflect.DeepEqual(p.spec(ctx, commit, log.App), p.spec(ctx, commit+"^", log.App)) {
			touched[commit] = true
		}
	}
	log.Commits, err = p.commits(ctx, span, touched)
	return err
}

// inputPaths are the files that are read for either version.
func (p *project) inputPaths(ctx context.Context, log *Changelog) (map[string]bool, error) {
	paths := map[string]bool{}
	for _, commit := range []string{log.from, log.to} {
		if commit == "" {
			continue
		}
		at, err := p.at(ctx, commit, []string{log.App})
		if l := at[log.App]; err == nil && l != nil {
			maps.Copy(paths, l.paths)
			err = l.err
		}
		if code := protocol.ExitCode(err); ctx.Err() != nil || err != nil && code != protocol.ExitInvalid && code != protocol.ExitFailed {
			return nil, fmt.Errorf("the inputs of %s: %w", log.App, err)
		}
		if err != nil {
			p.warn(fmt.Sprintf("commits may be missing: not all inputs of %s can be read at %s: %v", log.App, commit[:12], err))
		}
	}
	delete(paths, "")
	return paths, nil
}

// earlierNames adds to paths the names that their files had within a span.
func (p *project) earlierNames(ctx context.Context, span string, paths map[string]bool) error {
	out, err := p.repository.Feed(ctx, "", "log", "--no-merges", "--topo-order", "--find-renames", "--diff-filter=R", "--name-status", "-z", "--format=", span)
	if err != nil {
		return err
	}
	// Status, old and new name of each, from the newest commit on.
	words := slices.DeleteFunc(strings.Split(out, "\x00"), func(word string) bool { return word == "" })
	for ; len(words) >= 3; words = words[3:] {
		if paths[words[2]] {
			paths[words[1]] = true
		}
	}
	return nil
}

// touching are the commits of a span that touched one of the paths.
func (p *project) touching(ctx context.Context, span string, paths []string) (map[string]bool, error) {
	touched := map[string]bool{}
	if len(paths) == 0 {
		return touched, nil
	}
	var in strings.Builder
	in.WriteString(span + "\n--\n")
	for _, name := range paths {
		if !strings.Contains(name, "\n") {
			in.WriteString(name + "\n")
		}
	}
	out, err := p.repository.With("GIT_LITERAL_PATHSPECS=1").Feed(ctx, in.String(), "rev-list", "--no-merges", "--full-history", "--stdin")
	for commit := range strings.FieldsSeq(out) {
		touched[commit] = true
	}
	return touched, err
}

// spec is what harmony.yaml says of an app at a commit, or nil.
func (p *project) spec(ctx context.Context, commit, app string) any {
	text, err := p.repository.Feed(ctx, "", "cat-file", "blob", commit+":"+path.Clean(filepath.ToSlash(p.file)))
	if err != nil {
		return nil // it was not there
	}
	for documents := yaml.NewDecoder(strings.NewReader(text)); ; {
		var document struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     any
		}
		if err := documents.Decode(&document); err != nil {
			return nil
		}
		if document.Kind == string(protocol.KindAppSpec) && document.Metadata.Name == app {
			return document.Spec
		}
	}
}

// commits reads those commits of a span that are among some.
func (p *project) commits(ctx context.Context, span string, among map[string]bool) ([]Commit, error) {
	const fields = 4
	// A message has no NUL.
	out, err := p.repository.Feed(ctx, "", "log", "--no-merges", "--topo-order", "-z", "--encoding=UTF-8", "--no-show-signature", "--format=tformat:%H%x00%an%x00%aI%x00%B", span)
	if err != nil {
		return nil, err
	}
	list := []Commit{}
	for parts := strings.Split(out, "\x00"); len(parts) >= fields; parts = parts[fields:] {
		if among[parts[0]] {
			c := parse(parts[3])
			c.Commit, c.Author, c.Date = parts[0], parse(parts[1]).Text, parts[2]
			list = append(list, c)
		}
	}
	return list, nil
}

// markdown writes the changelog for people.
func (log Changelog) markdown(out io.Writer) error {
	var text strings.Builder
	title := "changes to come"
	if log.Until != "" {
		title = log.Until
	}
	if log.Since != "" {
		title += ", since " + log.Since
	}
	fmt.Fprintf(&text, "# %s %s\n", log.App, title)
	for _, group := range [][2]string{{groupBreaking, "Breaking changes"}, {groupFeatures, "Features"}, {groupFixes, "Fixes"}, {groupOther, "Other changes"}} {
		first := true
		for _, c := range log.Commits {
			if c.Group != group[0] {
				continue
			}
			if first {
				fmt.Fprintf(&text, "\n## %s\n\n", group[1])
			}
			first = false
			text.WriteString("- ")
			if c.Scope != "" {
				fmt.Fprintf(&text, "**%s:** ", escape(c.Scope))
			}
			fmt.Fprintf(&text, "%s (%s)\n", escape(c.Text), c.Commit[:min(len(c.Commit), 12)])
			if c.Breaking != "" {
				fmt.Fprintf(&text, "  %s\n", escape(c.Breaking))
			}
		}
	}
	if len(log.Commits) == 0 {
		text.WriteString("\nNo commit touched what it is made from.\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}
