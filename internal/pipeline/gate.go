package pipeline

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/nationtech/harmony/internal/discovery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// need is what a stage needs of the topology.
type need struct {
	stage        string
	capabilities []string
}

var needs = []need{
	{capability.StageBuild, []string{capability.NameContainerBuilder}},
	{capability.StagePublish, []string{capability.NameOCIRegistry, capability.NameHelmRegistry}},
	{capability.StageDeploy, []string{capability.NameContinuousDelivery}},
	{capability.StageSmoke, nil},
}

// plugins finds the plugin of every stage, and refuses before anything is
// started what the topology or a plugin lacks.
func (r Release) plugins(ctx context.Context) (map[string]discovery.Plugin, error) {
	provided := map[string]protocol.Provider{}
	for _, p := range r.Topology.Provided() {
		provided[p.Capability] = p.Provider
	}
	if err := r.complete(provided); err != nil {
		return nil, err
	}
	found := map[string]discovery.Plugin{}
	errs := make([]error, len(needs))
	for _, n := range needs {
		plugin, err := r.find(n, provided)
		if err != nil {
			return nil, err
		}
		found[n.stage] = plugin
	}
	var all sync.WaitGroup
	for i, n := range needs {
		all.Go(func() { errs[i] = r.check(ctx, n, found[n.stage], provided) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// complete holds the bound of the scores against a topology that is data.
func (r Release) complete(provided map[string]protocol.Provider) error {
	for _, n := range needs {
		for _, name := range n.capabilities {
			if _, ok := provided[name]; ok {
				continue
			}
			verb := "release"
			if n.stage == capability.StageDeploy {
				verb = "deploy"
			}
			return protocol.Unsupported("topology %q cannot %s: no %s (has %s)", r.Topology.Name, verb, name, summary(r.Topology))
		}
	}
	return nil
}

func summary(t protocol.Topology) string {
	var list []string
	for _, p := range t.Provided() {
		list = append(list, p.Capability+": "+adapterOf(p.Provider))
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func adapterOf(p protocol.Provider) string {
	if p.Adapter == "" {
		return p.Plugin
	}
	return p.Adapter
}

// find returns the plugin that carries out a stage: the one that the topology
// names, else the suite's own.
func (r Release) find(n need, provided map[string]protocol.Provider) (discovery.Plugin, error) {
	name := ""
	var named []protocol.Provider
	for _, c := range n.capabilities {
		named = append(named, provided[c])
	}
	if n.stage == capability.StageSmoke && r.Topology.Smoke != nil {
		named = append(named, *r.Topology.Smoke)
	}
	for _, p := range named {
		if p.Plugin == "" {
			continue
		}
		if name != "" && name != p.Plugin {
			return discovery.Plugin{}, protocol.Invalid("topology %q names two plugins for stage %s, %s and %s", r.Topology.Name, n.stage, name, p.Plugin)
		}
		name = p.Plugin
	}
	if name == "" {
		name = discovery.Prefix + n.stage
	}
	return r.Finder.Find(strings.TrimPrefix(name, discovery.Prefix))
}

// check asks the plugin what it is: its protocol, its stage and its adapters.
func (r Release) check(ctx context.Context, n need, plugin discovery.Plugin, provided map[string]protocol.Provider) error {
	info, err := r.Describer.Describe(ctx, plugin)
	if err != nil {
		return err
	}
	ours := protocol.ProtocolRange{Min: protocol.ProtocolMin, Max: protocol.ProtocolMax}
	if _, ok := ours.Common(info.Protocol); !ok {
		return protocol.Unsupported("plugin %s speaks protocol %d to %d, harmony %d to %d: none in common",
			plugin.Path, info.Protocol.Min, info.Protocol.Max, ours.Min, ours.Max)
	}
	if info.Stage != n.stage {
		return protocol.Unsupported("plugin %s is of stage %q, not %q", plugin.Path, info.Stage, n.stage)
	}
	for _, name := range n.capabilities {
		adapter, has := provided[name].Adapter, info.Capabilities[name]
		if adapter != "" && !slices.Contains(has, adapter) {
			return protocol.Unsupported("topology %q: plugin %s has no adapter %q for %s (has %s)",
				r.Topology.Name, plugin.Path, adapter, name, strings.Join(has, ", ")).
				WithHint("choose another adapter or another topology with --topology")
		}
	}
	return nil
}

// splitTitle takes the title of a score apart into stage and target.
func splitTitle(title string) (stage, target string) {
	stage, target, _ = strings.Cut(title, " ")
	if stage == "release" {
		stage = capability.StageBuild
	}
	return stage, target
}

// Provider returns the capability and the adapter that made a result, for a
// plan's table.
func Provider(t protocol.Topology, s protocol.Spec) (name, adapter string) {
	for _, p := range t.Provided() {
		if p.Capability == capabilityOf(s) {
			return p.Capability, adapterOf(p.Provider)
		}
	}
	return "", ""
}

func capabilityOf(s protocol.Spec) string {
	switch d := s.(type) {
	case protocol.ImageRef:
		if d.Location == protocol.InRegistry || d.Location == protocol.InNodes {
			return capability.NameOCIRegistry
		}
		return capability.NameContainerBuilder
	case protocol.ChartRef:
		return capability.NameHelmRegistry
	case protocol.DeployResult:
		return capability.NameContinuousDelivery
	}
	return ""
}
