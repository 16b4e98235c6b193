package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// need is what a stage needs of the topology.
type need struct {
	stage        string
	capabilities []string
	// offered: the stage is not built in. Its plugin says what it needs.
	offered bool
}

func (r Release) needs() []need {
	var list []need
	for _, step := range r.Steps {
		for _, n := range needsOf(step.Stage) {
			if !slices.ContainsFunc(list, func(o need) bool { return o.stage == n.stage }) {
				list = append(list, n)
			}
		}
	}
	return list
}

func needsOf(step string) []need {
	switch step {
	case protocol.StepRelease:
		return []need{
			{stage: capability.StageBuild, capabilities: []string{capability.NameContainerBuilder}},
			{stage: capability.StagePublish, capabilities: []string{capability.NameOCIRegistry, capability.NameHelmRegistry}},
		}
	case protocol.StepMigrate, protocol.StepDeploy: // two commands of one plugin
		return []need{{stage: capability.StageDeploy, capabilities: []string{capability.NameContinuousDelivery}}}
	case protocol.StepSmoke:
		return []need{{stage: capability.StageSmoke}}
	}
	return []need{{stage: step, offered: true}}
}

// stagePlugin is the plugin of a stage, and its answer to describe.
type stagePlugin struct {
	discovery.Plugin
	info protocol.PluginInfo
}

// plugins finds the plugin of every stage. What the topology or a plugin lacks is
// an error before anything is started.
func (r Release) plugins(ctx context.Context) (map[string]stagePlugin, error) {
	provided := map[string]protocol.Provider{}
	for _, p := range r.Topology.Provided() {
		provided[p.Capability] = p.Provider
	}
	needs := r.needs()
	plugins, errs := make([]stagePlugin, len(needs)), make([]error, len(needs))
	for _, n := range needs {
		if err := r.complete(n, provided); err != nil {
			return nil, err
		}
	}
	for i, n := range needs {
		var err error
		if plugins[i].Plugin, err = r.find(ctx, n, provided); err != nil {
			return nil, err
		}
	}
	var all sync.WaitGroup
	for i, n := range needs {
		all.Go(func() { plugins[i].info, errs[i] = r.check(ctx, n, plugins[i].Plugin, provided) })
	}
	all.Wait()
	found := map[string]stagePlugin{}
	for i, n := range needs {
		if errs[i] != nil {
			return nil, errs[i]
		}
		found[n.stage] = plugins[i]
	}
	return found, nil
}

// complete checks the bound of a score against a topology that is data.
func (r Release) complete(n need, provided map[string]protocol.Provider) error {
	for _, name := range n.capabilities {
		if _, ok := provided[name]; ok {
			continue
		}
		verb := n.stage
		if n.stage == capability.StageBuild || n.stage == capability.StagePublish {
			verb = protocol.StepRelease
		}
		return protocol.Unsupported("topology %q cannot %s: no %s (has %s)", r.Topology.Name, verb, name, summary(r.Topology))
	}
	return nil
}

func summary(t protocol.Topology) string {
	var list []string
	for _, p := range t.Provided() {
		list = append(list, p.Capability+": "+cmp.Or(p.Provider.Adapter, p.Provider.Plugin))
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// find returns the plugin that carries out a stage: the one that the topology
// names, else the suite's own.
func (r Release) find(ctx context.Context, n need, provided map[string]protocol.Provider) (discovery.Plugin, error) {
	if n.offered {
		return r.offering(ctx, n.stage)
	}
	var named []string
	for _, c := range n.capabilities {
		named = append(named, provided[c].Plugin)
	}
	if n.stage == capability.StageSmoke && r.Topology.Smoke != nil {
		named = append(named, r.Topology.Smoke.Plugin)
	}
	named = slices.Compact(slices.DeleteFunc(named, func(plugin string) bool { return plugin == "" }))
	switch len(named) {
	case 0:
		return r.Finder.Find(n.stage)
	case 1:
		return r.Finder.Find(strings.TrimPrefix(named[0], discovery.Prefix))
	}
	return discovery.Plugin{}, protocol.Invalid("topology %q names two plugins for stage %s, %s and %s", r.Topology.Name, n.stage, named[0], named[1])
}

// offering returns the plugin of a stage that is not built in: one that the
// topology names for any capability and that offers the stage, else the one of
// the stage's name.
func (r Release) offering(ctx context.Context, stage string) (discovery.Plugin, error) {
	for _, p := range r.Topology.Provided() {
		if p.Provider.Plugin == "" || p.Provider.Plugin == discovery.Prefix+stage {
			continue
		}
		plugin, err := r.Finder.Find(strings.TrimPrefix(p.Provider.Plugin, discovery.Prefix))
		if err != nil {
			return discovery.Plugin{}, err
		}
		info, err := r.Describer.Describe(ctx, plugin)
		if err != nil || info.Stage == stage {
			return plugin, err
		}
	}
	return r.Finder.Find(stage)
}

// check checks the protocol, the stage and the adapters that a plugin describes.
func (r Release) check(ctx context.Context, n need, plugin discovery.Plugin, provided map[string]protocol.Provider) (protocol.PluginInfo, error) {
	info, err := r.Describer.Describe(ctx, plugin)
	if err != nil {
		return info, err
	}
	if err := discovery.CheckProtocol("plugin "+plugin.Path, info.Protocol); err != nil {
		return info, err
	}
	if info.Stage != n.stage {
		return info, protocol.Unsupported("plugin %s is of stage %q, not %q", plugin.Path, info.Stage, n.stage)
	}
	if r.Adopt != "" && n.stage == capability.StageDeploy && !hasFlag(info, "adopt") {
		return info, protocol.Unsupported("plugin %s has no --adopt: it takes over nothing that others made", plugin.Path)
	}
	for _, flag := range r.Flags[n.stage] {
		name, _, _ := strings.Cut(strings.TrimLeft(flag, "-"), "=")
		if !hasFlag(info, name) {
			return info, protocol.Unsupported("plugin %s has no --%s", plugin.Path, name)
		}
	}
	if n.offered {
		if err := r.checkOffer(plugin, info); err != nil {
			return info, err
		}
		n.capabilities = slices.Sorted(maps.Keys(info.Capabilities))
		if err := r.complete(n, provided); err != nil {
			return info, err
		}
	}
	if err := r.checkMigrations(n, plugin, info); err != nil {
		return info, err
	}
	for _, app := range r.Apps {
		if err := info.CheckApp(app); err != nil {
			return info, err
		}
		if err := r.checkKinds(n, app); err != nil {
			return info, err
		}
	}
	for _, target := range r.Targets {
		if err := info.CheckTarget(r.Topology, target); err != nil {
			return info, err
		}
	}
	if err := r.checkImageless(n, plugin, info); err != nil {
		return info, err
	}
	for _, name := range n.capabilities {
		adapter, has := provided[name].Adapter, info.Capabilities[name]
		if adapter != "" && !slices.Contains(has, adapter) {
			return info, protocol.Unsupported("topology %q: plugin %s has no adapter %q for %s (has %s)",
				r.Topology.Name, plugin.Path, adapter, name, strings.Join(has, ", ")).
				WithHint("choose another adapter or another topology with --topology")
		}
	}
	return info, nil
}

// checkKinds refuses smoke checks that cannot be run, and looks for the executables of the
// others.
func (r Release) checkKinds(n need, app protocol.AppSpec) error {
	if n.stage != capability.StageSmoke {
		return nil
	}
	if err := r.Topology.CheckSmoke(app); err != nil {
		return err
	}
	for _, check := range app.Smoke {
		for kind := range check.Other {
			if _, err := r.Finder.FindCheck(kind); err != nil {
				return fmt.Errorf("app %s: smoke check %s: %w", app.Name, check.Name, err)
			}
		}
	}
	return nil
}

// checkImageless refuses a stage that would wait for the image of an app that has
// none.
func (r Release) checkImageless(n need, plugin discovery.Plugin, info protocol.PluginInfo) error {
	if n.stage != capability.StagePublish && n.stage != capability.StageDeploy || slices.Contains(info.Features, protocol.FeatureNoImage) {
		return nil
	}
	i := slices.IndexFunc(r.Apps, func(app protocol.AppSpec) bool { return app.Image.IsNone() })
	if i < 0 {
		return nil
	}
	return protocol.Unsupported("plugin %s cannot %s app %q, which has no image", plugin.Path, n.stage, r.Apps[i].Name).
		WithHint("it lacks the feature %q; a newer version may have it", protocol.FeatureNoImage)
}

// checkOffer checks what a pipeline needs of a stage that is not built in.
func (r Release) checkOffer(plugin discovery.Plugin, info protocol.PluginInfo) error {
	if len(info.Produces) == 0 {
		return protocol.Unsupported("plugin %s produces no documents: a stage of a pipeline must report what it did", plugin.Path)
	}
	if r.DryRun && !hasFlag(info, "dry-run") {
		return protocol.Unsupported("plugin %s has no --dry-run, so stage %s cannot be planned", plugin.Path, info.Stage)
	}
	return nil
}

func hasFlag(info protocol.PluginInfo, name string) bool {
	return slices.ContainsFunc(info.Flags, func(f protocol.Flag) bool { return f.Name == name })
}

// Provider returns the capability and the adapter that made a result, for a
// plan's table.
func Provider(t protocol.Topology, s protocol.Spec) (name, adapter string) {
	switch d := s.(type) {
	case protocol.ImageRef:
		name = capability.NameContainerBuilder
		if d.Location == protocol.InRegistry || d.Location == protocol.InNodes {
			name = capability.NameOCIRegistry
		}
	case protocol.ChartRef:
		name = capability.NameHelmRegistry
	case protocol.MigrationReport, protocol.DeployResult:
		name = capability.NameContinuousDelivery
	case protocol.Result:
		name = d.Capability
	}
	for _, p := range t.Provided() {
		if p.Capability == name {
			return name, cmp.Or(p.Provider.Adapter, p.Provider.Plugin)
		}
	}
	return "", ""
}
