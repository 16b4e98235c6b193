// Package changes says what changed in the inputs of apps between two commits: harmony
// affected and harmony changelog.
//
// The inputs are what a build and a chart read, listed by the code that reads them there.
// They are listed twice, in snapshots of the repository in a temporary folder, and
// compared. Nothing is built, and the user's work tree is not touched.
package changes

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/lock"
	source "github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/project/git"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// project is a project in a git repository.
type project struct {
	loaded     *config.Project
	repository git.Repository
	// file is the path of harmony.yaml from the top of the work tree on.
	file string
	// temp is a folder for snapshots.
	temp   string
	lister *build.Lister
	chart  discovery.Plugin
	getenv func(string) string
	warn   func(string)
}

// open opens the project that the source finds. It must be closed.
func open(ctx context.Context, from source.Source, cache string) (*project, error) {
	if plugin := from.Getenv(source.EnvAppPlugin); plugin != "" && from.File == "" {
		return nil, protocol.Unsupported("%s=%s: what changed is known of the apps of a %s only", source.EnvAppPlugin, plugin, config.FileName).
			WithHint("unset %s, or name the file with --file", source.EnvAppPlugin)
	}
	p := &project{getenv: from.Getenv, warn: once(from.Warn)}
	var err error
	if p.loaded, err = from.Project(); err != nil {
		return nil, err
	}
	root, err := filepath.EvalSymlinks(p.loaded.Root)
	if err != nil {
		return nil, err
	}
	top := git.Top(root)
	if top == "" {
		return nil, protocol.Invalid("%s is in no git repository, whose commits could be compared", p.loaded.File)
	}
	if p.file, err = filepath.Rel(top, filepath.Join(root, filepath.Base(p.loaded.File))); err != nil {
		return nil, err
	}
	if p.repository, err = git.Open(ctx, top); err != nil {
		return nil, protocol.Invalid("%s: %w", top, err)
	}
	if p.chart, err = lock.OfSuite(from.Getenv("PATH"), "chart"); err != nil {
		return nil, err
	}
	if p.temp, err = os.MkdirTemp("", "harmony-changes-"); err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(p.temp); err == nil {
		p.temp = real
	}
	env := capability.Environment{Cache: cache}
	// Without a topology, no registry is reached by plain http.
	env.Topology, _ = p.loaded.Topology(from.Topology, from.Getenv)
	p.lister = build.NewLister(env, filepath.Join(p.temp, "memory"), p.warn)
	return p, nil
}

// close removes the snapshots.
func (p *project) close() error { return os.RemoveAll(p.temp) }

// once shows each warning once.
func once(warn func(string)) func(string) {
	shown := newSet()
	return func(text string) {
		if shown.add(text) {
			warn(text)
		}
	}
}

// relative is a path in a snapshot as one of the repository, with slashes, or "" for one
// elsewhere.
func relative(dir, path string) string {
	below, inside := strings.CutPrefix(path, dir+string(filepath.Separator))
	if !inside {
		return ""
	}
	return filepath.ToSlash(below)
}
