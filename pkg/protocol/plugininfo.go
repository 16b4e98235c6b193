package protocol

// The range of protocol versions that this package speaks.
const (
	ProtocolMin = 1
	ProtocolMax = 1
)

// FeatureNoImage is that of a stage which does its work without an ImageRef for an
// app whose AppSpec has no image. A release with such an app refuses a publish or
// deploy stage that does not have it.
const FeatureNoImage = "no-image"

// CommandTakeBack is the command of a deploy plugin that brings back what ran on a
// target before a deploy whose smoke checks failed. Its stdin is a stream with the
// Topology, the AppSpec, the DeployResult to go back from, after those of its clusters,
// and the SmokeReport; it answers with a DeployResult of [OutcomeRolledBack], or a
// Failure. One of status [ExitInvalid] or [ExitUnsupported] says that it refused to, and
// changed nothing.
const CommandTakeBack = "take-back"

// CommandMigrate is the command of a deploy plugin that runs the migrations of apps on a
// target, before a deploy of the version. Its stdin is a stream with the Topology, the
// AppSpec, the ImageRef and the ChartRef that a deploy gets; it answers with a
// MigrationReport for each app that has migrations, which a Failure follows when one of
// them failed.
const CommandMigrate = StepMigrate

// PluginInfo is a plugin's answer to describe. Metadata holds the plugin's
// name, without the harmony- prefix, and its version.
type PluginInfo struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Protocol is the range of protocol versions that the plugin speaks.
	Protocol ProtocolRange `json:"protocol"`
	// Description is one line for help.
	Description string `json:"description,omitempty"`
	// Stage is the stage that the plugin carries out: build, publish, deploy, smoke,
	// or one of its own that a pipeline names; empty for a plugin that is not a stage.
	Stage string `json:"stage,omitempty"`
	// Apps names the apps that an app plugin offers.
	Apps []string `json:"apps,omitempty"`
	// Consumes and Produces are kinds of documents.
	Consumes []Kind `json:"consumes,omitempty"`
	// Produces lists the kinds of its results.
	Produces []Kind `json:"produces,omitempty"`
	// Capabilities maps a capability to the adapters that the plugin has for it:
	// ContainerBuilder: [daemonless, docker]. A topology that lacks one cannot run
	// the stage.
	Capabilities map[string][]string `json:"capabilities,omitempty"`
	// Commands are those of the plugin beside its stage's own: a delivery plugin that
	// can take apps away lists uninstall, one that can take a target back
	// [CommandTakeBack], and one that runs migrations [CommandMigrate].
	Commands []string `json:"commands,omitempty"`
	// Features are those parts of the protocol that were added to its version 1 and
	// that the plugin knows: [FeatureImages], [FeatureImagePlaces], [FeatureNoImage],
	// [FeatureChecks], [FeatureRings], [FeatureWaves]. An app or a target that needs another
	// one is not given to it.
	Features []string `json:"features,omitempty"`
	// Flags are for help and completion.
	Flags []Flag `json:"flags,omitempty"`
}

// DocumentKind implements [Spec].
func (PluginInfo) DocumentKind() Kind { return KindPluginInfo }

// ProtocolRange is the lowest and the highest protocol version spoken.
type ProtocolRange struct {
	// Min is the lowest version.
	Min int `json:"min"`
	// Max is the highest version.
	Max int `json:"max"`
}

// Common is the highest version in both ranges, and whether there is one.
func (r ProtocolRange) Common(other ProtocolRange) (int, bool) {
	low, high := max(r.Min, other.Min), min(r.Max, other.Max)
	return high, low <= high
}

// Flag is one flag of a plugin.
type Flag struct {
	// Name without dashes.
	Name string `json:"name"`
	// Usage is one line for help.
	Usage string `json:"usage,omitempty"`
	// Type is string, bool, int, duration or strings.
	Type string `json:"type,omitempty"`
	// Default is its value when it is not given.
	Default string `json:"default,omitempty"`
}

// CheckTarget fails, with status [ExitUnsupported], if the plugin is a deploy stage that
// lacks the feature that a target needs: [FeatureRings] or [FeatureWaves].
func (i PluginInfo) CheckTarget(t Topology, target string) error {
	if i.Stage != "deploy" {
		return nil
	}
	to := t.Targets[target]
	if err := i.checkRings(target, to.EdgeDevice); err != nil {
		return err
	}
	return i.checkWaves(target, to.MultiCluster)
}
