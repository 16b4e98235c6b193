package plugin

import (
	"cmp"
	"context"
	"io"
	"slices"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Stage is what a stage plugin does.
type Stage struct {
	// Name of the stage: build.
	Name string
	// Plugin is the plugin's name without its harmony- prefix, where it differs
	// from the stage's: smoke-acme replaces smoke.
	Plugin string
	// Version of the plugin, a semantic version.
	Version string
	// Description is one line for help.
	Description string
	// Needs lists the kinds of documents that an app's work cannot start
	// without, AppSpec always among them.
	Needs []protocol.Kind
	// Awaits lists kinds that the work waits for while the stream lasts, but can
	// do without.
	Awaits []protocol.Kind
	// Produces lists the kinds that the stage makes.
	Produces []protocol.Kind
	// Capabilities maps a capability to its adapters, for describe.
	Capabilities map[string][]string
	// Features are what the stage can do that not every plugin can, such as
	// protocol.FeatureImages. An app that needs another one is refused, with status
	// protocol.ExitUnsupported.
	Features []string
	// Imageless is true when the work does without the ImageRef of an app that has no
	// image, see [protocol.FeatureNoImage]. Such an app fails in another stage that
	// needs one.
	Imageless bool
	// Ordered is true when an app's work waits for that of the apps which it
	// depends on.
	Ordered bool
	// Open makes the stage ready for a topology, as soon as there is an app: what
	// takes time there is done when the app's other documents arrive. It fails with
	// status protocol.ExitUnsupported when the topology lacks something, before any
	// work is started.
	Open func(ctx context.Context, env Environment) (Work, error)
	// Close releases what Open has taken, once no work runs any more; may be nil.
	Close func() error
}

// Work carries out the stage for one app and emits each result as soon as it
// exists. It is called for several apps at once.
type Work func(ctx context.Context, in Inputs, emit func(protocol.Spec)) error

// Environment is what a stage is opened with.
type Environment struct {
	// Topology is the one in force: the last of the stream, or the configured one.
	Topology protocol.Topology
	// Target is what --target named, or "".
	Target string
	// DryRun asks for what would be done, with nothing changed.
	DryRun bool
	// Progress takes events; never nil.
	Progress func(protocol.Event)
	// Cache is the folder for this stage's caches.
	Cache string
}

// Inputs are the documents of one app, the last of each kind.
type Inputs struct {
	// App is the app's AppSpec.
	App protocol.AppSpec
	// Image is nil when the stream has none, as for an app without an image.
	Image *protocol.ImageRef
	// Chart is nil when the stream has none.
	Chart *protocol.ChartRef
	// Deployed holds the results of deploys, by target.
	Deployed map[string]protocol.DeployResult
	// Clusters holds the results for the clusters of targets that have several, by
	// target: the last one of each cluster.
	Clusters map[string][]protocol.DeployResult
	// Migrated is true once the stream says that the app's migrations have run on the target
	// of this stage.
	Migrated bool
	// Checked holds the reports of smoke checks, by target.
	Checked map[string]protocol.SmokeReport
}

func (in Inputs) has(kind protocol.Kind) bool {
	switch kind {
	case protocol.KindAppSpec:
		return in.App.Name != ""
	case protocol.KindImageRef:
		return in.Image != nil
	case protocol.KindChartRef:
		return in.Chart != nil
	case protocol.KindDeployResult:
		return len(in.Deployed) > 0
	case protocol.KindMigrationReport:
		return in.Migrated || len(in.App.Migrations) == 0
	}
	return false
}

// image is that of the stream, or only the metadata for an app that has none.
func (in Inputs) image() protocol.ImageRef {
	if in.Image == nil || in.App.Image.IsNone() {
		return protocol.ImageRef{Metadata: in.App.Metadata}
	}
	return *in.Image
}

// missing is the first of the kinds that the inputs do not hold, or "".
func (in Inputs) missing(kinds []protocol.Kind) protocol.Kind {
	for _, kind := range kinds {
		if !in.has(kind) {
			return kind
		}
	}
	return ""
}

// Invocation is one run of a stage: its streams and arguments.
type Invocation struct {
	// Stdin is the stream of documents. Source is asked when it is nil, ends before
	// its first byte, or has none within Patience.
	Stdin io.Reader
	// Patience is how long the first byte of Stdin is waited for; zero: as long as
	// it takes.
	Patience time.Duration
	// Source reads the project's configuration: the topology, and the apps named,
	// validated and with their versions. Nil when documents come from Stdin only.
	Source func(ctx context.Context, apps []string) (protocol.Topology, []protocol.AppSpec, error)
	// Topology is the configured topology, for a stream without one.
	Topology func(ctx context.Context) (protocol.Topology, error)
	// Vet refuses a Topology, ImageRef or ChartRef of the stream; may be nil.
	Vet func(ctx context.Context, document protocol.Spec) error
	// Stdout gets the documents.
	Stdout io.Writer
	// Apps are names or globs: the apps of the stream to work on, all when there
	// are none; or those that Source reads.
	Apps []string
	// Target is what --target names, or "".
	Target string
	// DryRun asks for what would be done, with nothing changed.
	DryRun bool
	// Parallel bounds how many apps are worked on at once; 4 when zero.
	Parallel int
	// Events takes progress; may be nil. Several goroutines call it.
	Events func(protocol.Event)
	// Failed takes every failure of this stage; may be nil.
	Failed func(protocol.Failure)
	// Observe sees every document that is written to Stdout; may be nil.
	Observe func(d protocol.Document, forwarded bool)
	// Cache is the folder of the suite's caches.
	Cache string
}

// PluginName is the name of the plugin, without its harmony- prefix.
func (s Stage) PluginName() string { return cmp.Or(s.Plugin, s.Name) }

// Info is the stage's answer to describe; flags are those of its command line.
func (s Stage) Info(flags []protocol.Flag) protocol.PluginInfo {
	return protocol.PluginInfo{
		Metadata:     protocol.Metadata{Name: s.PluginName(), Version: s.Version},
		Protocol:     protocol.ProtocolRange{Min: protocol.ProtocolMin, Max: protocol.ProtocolMax},
		Description:  s.Description,
		Stage:        s.Name,
		Consumes:     append(append([]protocol.Kind{protocol.KindTopology}, s.Needs...), s.Awaits...),
		Produces:     s.Produces,
		Capabilities: s.Capabilities,
		Features:     s.features(),
		Flags:        flags,
	}
}

func (s Stage) features() []string {
	if s.Imageless {
		return append(slices.Clone(s.Features), protocol.FeatureNoImage)
	}
	return s.Features
}

// needs are the kinds of documents that the work for these inputs cannot start
// without.
func (s Stage) needs(in Inputs) []protocol.Kind {
	if !s.Imageless || in.App.Name == "" || !in.App.Image.IsNone() {
		return s.Needs
	}
	return slices.DeleteFunc(slices.Clone(s.Needs), func(k protocol.Kind) bool { return k == protocol.KindImageRef })
}
