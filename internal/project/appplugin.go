package project

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/project/appplugin"
	"github.com/nationtech/harmony/internal/project/version"
	"github.com/nationtech/harmony/pkg/protocol"
)

// EnvAppPlugin names the app plugin that the apps come from, instead of a
// harmony.yaml: harmony-fleet, or fleet.
const EnvAppPlugin = "HARMONY_APP_PLUGIN"

// Find reads the project with the wanted apps: the given file; else the app plugin in
// HARMONY_APP_PLUGIN; else the harmony.yaml of the current folder, unless it has none of
// the apps and an app plugin on PATH offers one. Without a harmony.yaml, apps that are
// named come from a plugin.
func (s Source) Find(ctx context.Context, wanted Wanted) (*config.Project, error) {
	if name := s.Getenv(EnvAppPlugin); name != "" && s.File == "" {
		plugin, err := appplugin.Named(s.Getenv("PATH"), name)
		if err != nil {
			return nil, &protocol.Error{Code: protocol.ExitCode(err), Message: EnvAppPlugin, Err: err, Hint: protocol.HintOf(err)}
		}
		return ofPlugin(ctx, plugin)
	}
	project, err := s.Project()
	if err != nil && !errors.Is(err, config.ErrNoFile) || s.File != "" || !wanted.specific() || err == nil && wanted.among(project.Names()) {
		return project, err
	}
	offers, failed := appplugin.Offers(ctx, s.Getenv("PATH"))
	if failed != nil {
		return nil, failed
	}
	found := slices.DeleteFunc(slices.Clone(offers), func(o appplugin.Offer) bool { return !wanted.among(o.Apps) })
	switch {
	case len(found) == 1:
		return ofPlugin(ctx, found[0].Plugin)
	case len(found) > 1:
		return nil, protocol.Invalid("both %s and %s offer these apps", found[0].Path, found[1].Path).
			WithHint("choose one: 'harmony %s release …'", found[0].Name)
	case err != nil && len(offers) > 0:
		return nil, protocol.Invalid("%w", err).WithHint("the app plugins on PATH offer %s", strings.Join(namesOf(offers), ", "))
	}
	return project, err
}

func namesOf(offers []appplugin.Offer) []string {
	var names []string
	for _, o := range offers {
		names = append(names, o.Apps...)
	}
	return names
}

// ofPlugin is the project of an app plugin. It has the plugin's name, as that of a
// harmony.yaml has its folder's.
func ofPlugin(ctx context.Context, plugin discovery.Plugin) (*config.Project, error) {
	p, err := appplugin.Apps(ctx, plugin)
	if err != nil {
		return nil, err
	}
	return config.Given(plugin.Name, plugin.Path, p.Apps, p.Topologies, p.Pipelines)
}

// Wanted selects apps by names or globs, or one by a tag.
type Wanted struct {
	Patterns []string
	Tag      string
}

// specific reports whether it selects only some apps, not all.
func (w Wanted) specific() bool {
	return w.Tag != "" || len(w.Patterns) > 0 && !slices.Contains(w.Patterns, "*")
}

// among reports whether it selects one of the names.
func (w Wanted) among(names []string) bool {
	if w.Tag != "" {
		_, _, err := version.FromTag(w.Tag, names)
		return err == nil
	}
	return slices.ContainsFunc(w.Patterns, func(pattern string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			matched, err := path.Match(pattern, name)
			return pattern == name || err == nil && matched
		})
	})
}
