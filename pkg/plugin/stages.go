package plugin

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Adapters is the table of a capability's adapters, by name.
type Adapters[C any] map[string]capability.Adapter[C]

// names in order, for describe and messages.
func (a Adapters[C]) names() []string { return slices.Sorted(maps.Keys(a)) }

// Build is the stage that makes images, those of one app side by side: an adapter
// makes one image at a time, and needs to know nothing of the others.
func Build(version string, builders Adapters[capability.ContainerBuilder]) Stage {
	return Stage{
		Name: capability.StageBuild, Version: version, Description: "Build the container images of apps",
		Needs:        []protocol.Kind{protocol.KindAppSpec},
		Produces:     []protocol.Kind{protocol.KindImageRef},
		Capabilities: map[string][]string{capability.NameContainerBuilder: builders.names()},
		Features:     []string{protocol.FeatureImages, protocol.FeatureImagePlaces},
		Open: func(ctx context.Context, env Environment) (Work, error) {
			builder, err := open(ctx, byImage(env), capability.NameContainerBuilder, builders)
			return func(ctx context.Context, in Inputs, emit func(protocol.Spec)) error {
				if in.App.Image.IsNone() {
					return nil
				}
				image, err := eachImage(ctx, in.App, builder.BuildImage)
				return emitted(emit, image, err)
			}, err
		},
	}
}

// Publish is the stage that brings images and charts into registries. Without
// images it takes each image as it is, and makes charts only. The images of one app
// are pushed side by side, one at a time by an adapter. A HelmRegistry gets all of
// them: where all of charts write every image into the chart, and see that it is
// used, the stage's Features can have protocol.FeatureImages; where they write it into each
// of several places, protocol.FeatureImagePlaces.
func Publish(version string, images Adapters[capability.OCIRegistry], charts Adapters[capability.HelmRegistry]) Stage {
	stage := Stage{
		Name: capability.StagePublish, Version: version, Description: "Publish images and charts to registries",
		Needs:        []protocol.Kind{protocol.KindAppSpec, protocol.KindImageRef},
		Produces:     []protocol.Kind{protocol.KindChartRef},
		Capabilities: map[string][]string{capability.NameHelmRegistry: charts.names()},
		Imageless:    true,
	}
	if images != nil {
		stage.Produces = append([]protocol.Kind{protocol.KindImageRef}, stage.Produces...)
		stage.Capabilities[capability.NameOCIRegistry] = images.names()
	}
	stage.Open = func(ctx context.Context, env Environment) (Work, error) {
		var registry capability.OCIRegistry
		var err error
		if images != nil {
			registry, err = open(ctx, byImage(env), capability.NameOCIRegistry, images)
		}
		if err != nil {
			return nil, err
		}
		helm, err := open(ctx, env, capability.NameHelmRegistry, charts)
		return func(ctx context.Context, in Inputs, emit func(protocol.Spec)) error {
			return publish(ctx, registry, helm, in, emit)
		}, err
	}
	return stage
}

// publish brings the image of an app into the registry, unless that is nil or the
// app has none, and then its chart.
func publish(ctx context.Context, registry capability.OCIRegistry, helm capability.HelmRegistry, in Inputs, emit func(protocol.Spec)) error {
	image := in.image()
	if registry != nil && !in.App.Image.IsNone() {
		var err error
		if image, err = pushImages(ctx, registry, in.App, image); err != nil {
			return err
		}
		emit(image)
	}
	chart, err := helm.PushChart(ctx, in.App, image)
	return emitted(emit, chart, err)
}

// emitted emits a result unless there is an error instead.
func emitted(emit func(protocol.Spec), result protocol.Spec, err error) error {
	if err == nil {
		emit(result)
	}
	return err
}

// Deploy is the stage that brings released apps to a target. An app with migrations waits, as
// long as the stream lasts, for what becomes of them. Its Features can have
// protocol.FeatureImages where every adapter proves that all images run.
func Deploy(version string, deliveries Adapters[capability.ContinuousDelivery]) Stage {
	return Stage{
		Name: capability.StageDeploy, Version: version, Description: "Deploy released apps to a target",
		Needs:        []protocol.Kind{protocol.KindAppSpec, protocol.KindImageRef, protocol.KindChartRef},
		Awaits:       []protocol.Kind{protocol.KindMigrationReport},
		Produces:     []protocol.Kind{protocol.KindDeployResult},
		Capabilities: map[string][]string{capability.NameContinuousDelivery: deliveries.names()},
		Ordered:      true,
		Imageless:    true,
		Open:         toTarget(deliveries, deploy),
	}
}

// toTarget opens a stage that does something with the deliveries to one target.
func toTarget(deliveries Adapters[capability.ContinuousDelivery],
	do func(ctx context.Context, delivery capability.ContinuousDelivery, target string, in Inputs, emit func(protocol.Spec)) error) func(context.Context, Environment) (Work, error) {
	return func(ctx context.Context, env Environment) (Work, error) {
		target, err := theTarget(env)
		if err != nil {
			return nil, err
		}
		delivery, err := open(ctx, env, capability.NameContinuousDelivery, deliveries)
		return func(ctx context.Context, in Inputs, emit func(protocol.Spec)) error {
			return do(ctx, delivery, target, in, emit)
		}, err
	}
}

// deploy deploys the app to the target, with a result for each of its clusters
// where it has several.
func deploy(ctx context.Context, delivery capability.ContinuousDelivery, target string, in Inputs, emit func(protocol.Spec)) error {
	var result protocol.DeployResult
	var err error
	if d, ok := delivery.(capability.ClusterDelivery); ok {
		result, err = d.DeployEach(ctx, in.App, target, in.image(), *in.Chart, func(r protocol.DeployResult) { emit(r) })
	} else {
		result, err = delivery.Deploy(ctx, in.App, target, in.image(), *in.Chart)
	}
	if err == nil || result.Outcome == protocol.OutcomeRolledBack || result.Outcome == protocol.OutcomeFailed {
		emit(result)
	}
	return err
}

// Smoke is the stage that checks deployed apps.
func Smoke(version string, checker capability.Adapter[capability.Checker]) Stage {
	return Stage{
		Name: capability.StageSmoke, Version: version, Description: "Run the smoke checks of deployed apps",
		Needs:    []protocol.Kind{protocol.KindAppSpec},
		Awaits:   []protocol.Kind{protocol.KindDeployResult},
		Produces: []protocol.Kind{protocol.KindSmokeReport},
		Open: func(ctx context.Context, env Environment) (Work, error) {
			if env.Target != "" {
				if _, err := theTarget(env); err != nil {
					return nil, err
				}
			}
			checks, err := checker(ctx, adapterEnvironment(env, protocol.Provider{}))
			return func(ctx context.Context, in Inputs, emit func(protocol.Spec)) error {
				return eachTarget(env, in, func(target string) error {
					report, err := check(ctx, checks, in, target)
					if report.Target != "" {
						emit(report)
					}
					return err
				})
			}, err
		},
	}
}

// check runs the checks, and tells a checker that asks for it what was deployed.
func check(ctx context.Context, checks capability.Checker, in Inputs, target string) (protocol.SmokeReport, error) {
	if c, ok := checks.(capability.DeployedChecker); ok {
		return c.CheckDeployed(ctx, in.App, in.Deployed[target], target)
	}
	return checks.Check(ctx, in.App, target)
}

// Monitor is the stage that sets up monitoring for deployed apps.
func Monitor(version string, adapters Adapters[capability.Monitoring]) Stage {
	return Stage{
		Name: capability.StageMonitor, Version: version, Description: "Set up monitoring and alerts for deployed apps",
		Needs:        []protocol.Kind{protocol.KindAppSpec},
		Awaits:       []protocol.Kind{protocol.KindDeployResult},
		Produces:     []protocol.Kind{protocol.KindMonitoringResult},
		Capabilities: map[string][]string{capability.NameMonitoring: adapters.names()},
		Open: func(ctx context.Context, env Environment) (Work, error) {
			monitoring, err := open(ctx, env, capability.NameMonitoring, adapters)
			return func(ctx context.Context, in Inputs, emit func(protocol.Spec)) error {
				return eachTarget(env, in, func(target string) error {
					result, err := monitoring.Monitor(ctx, in.App, target)
					return emitted(emit, result, err)
				})
			}, err
		},
	}
}

// eachTarget calls do for the target that was named, else for those that the
// stream says the app was deployed to.
func eachTarget(env Environment, in Inputs, do func(target string) error) error {
	targets := slices.Sorted(maps.Keys(in.Deployed))
	if env.Target != "" || len(targets) == 0 {
		target, err := theTarget(env)
		if err != nil {
			return err
		}
		targets = []string{target}
	}
	for _, target := range targets {
		if err := do(target); err != nil {
			return err
		}
	}
	return nil
}

// theTarget is the target named, or the only one of the topology.
func theTarget(env Environment) (string, error) {
	known := slices.Sorted(maps.Keys(env.Topology.Targets))
	if _, ok := env.Topology.Targets[env.Target]; ok {
		return env.Target, nil
	}
	switch {
	case env.Target == "" && len(known) == 1:
		return known[0], nil
	case len(known) == 0:
		return "", protocol.Unsupported("topology %q has no targets", env.Topology.Name).
			WithHint("add spec.targets to the topology")
	case env.Target == "":
		return "", protocol.Invalid("no target given").WithHint("name one with --target: %s", strings.Join(known, ", "))
	}
	return "", protocol.Unsupported("topology %q has no target %q (has %s)", env.Topology.Name, env.Target, strings.Join(known, ", "))
}

// open makes the adapter that the topology names for a capability.
func open[C any](ctx context.Context, env Environment, name string, table Adapters[C]) (C, error) {
	var none C
	provided := env.Topology.Provided()
	i := slices.IndexFunc(provided, func(c protocol.ProvidedCapability) bool { return c.Capability == name })
	if i < 0 {
		return none, protocol.Unsupported("topology %q has no %s%s", env.Topology.Name, name, inBrackets(provided))
	}
	provider := provided[i].Provider
	adapter, ok := table[provider.Adapter]
	if !ok {
		return none, protocol.Unsupported("topology %q: %s adapter %q is not one of this plugin (has %s)",
			env.Topology.Name, name, provider.Adapter, strings.Join(table.names(), ", "))
	}
	return adapter(ctx, adapterEnvironment(env, provider))
}

func adapterEnvironment(env Environment, provider protocol.Provider) capability.Environment {
	return capability.Environment{
		Topology: env.Topology, Provider: provider, DryRun: env.DryRun, Progress: env.Progress,
		Cache: filepath.Clean(env.Cache),
	}
}

// inBrackets lists the capabilities that a topology has.
func inBrackets(provided []protocol.ProvidedCapability) string {
	if len(provided) == 0 {
		return ""
	}
	var has []string
	for _, c := range provided {
		has = append(has, c.Capability+": "+c.Provider.Adapter)
	}
	return " (has " + strings.Join(has, ", ") + ")"
}
