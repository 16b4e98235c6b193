// Package capability holds the capabilities that an environment provides and
// the scores, the units of work of a release, that are bound to them.
//
// A capability is a concept of the industry, not a tool: going from docker to
// podman, from Harbor to ECR, or from Argo CD to Flux changes the topology and
// no app. An adapter is one implementation of a capability.
//
// The bound of a score is the type of topology that it can run on, so that a
// program that releases to a topology that cannot release does not compile.
package capability

import (
	"context"

	"github.com/nationtech/harmony/pkg/protocol"
)

// The names of the capabilities, as PluginInfo and messages tell them.
const (
	NameContainerBuilder   = protocol.CapabilityContainerBuilder
	NameOCIRegistry        = protocol.CapabilityOCIRegistry
	NameHelmRegistry       = protocol.CapabilityHelmRegistry
	NameContinuousDelivery = protocol.CapabilityContinuousDelivery
	NameMonitoring         = protocol.CapabilityMonitoring
)

// ContainerBuilder makes an app's image.
type ContainerBuilder interface {
	// BuildImage makes the image of the app and says where its bytes are; the
	// same input gives the same digest. An input that the adapter cannot build
	// is an error of status protocol.ExitUnsupported.
	BuildImage(ctx context.Context, app protocol.AppSpec) (protocol.ImageRef, error)
}

// OCIRegistry holds images, or brings them to where they run.
type OCIRegistry interface {
	// PushImage brings an image that a ContainerBuilder made into the registry,
	// under the tag of the app's version. The same digest there already is no
	// error but Unchanged; another digest is refused.
	PushImage(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ImageRef, error)
}

// HelmRegistry holds charts.
type HelmRegistry interface {
	// PushChart packages the app's chart with the image written into its values
	// and brings it into the registry, with the rules of PushImage. The image of an
	// app without one is only its metadata.
	PushChart(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ChartRef, error)
}

// ContinuousDelivery brings a released app to a target.
type ContinuousDelivery interface {
	// Deploy makes the target run the chart with the image, waits until it does,
	// and proves it. Nothing to do is no error but protocol.OutcomeUnchanged. A
	// deploy that failed and was rolled back is an error, and has a result of
	// protocol.OutcomeRolledBack that tells what runs now. What devices pull by
	// themselves is protocol.OutcomePublished until they report that it runs. One that
	// goes no further for now is protocol.OutcomePaused. Of an
	// app without an image, whose image is only its metadata, it proves the images
	// that the chart pins by digest.
	Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error)
}

// ClusterDelivery is a [ContinuousDelivery] that also tells what becomes of each
// cluster of a target with several.
type ClusterDelivery interface {
	// DeployEach is Deploy; each is handed the result of a cluster as soon as it
	// exists, one at a time, and once more when it changes after that.
	DeployEach(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef,
		each func(protocol.DeployResult)) (protocol.DeployResult, error)
}

// Remover is a [ContinuousDelivery] that can also take an app away again.
type Remover interface {
	// Remove takes the app off the target and waits until its objects and pods are
	// gone: the outcome is protocol.OutcomeRemoved, or protocol.OutcomeAbsent when
	// there is nothing to remove, which is no error. What the chart keeps stays, as
	// do volume claims and namespaces, and is told as Kept. An app that harmony did
	// not deliver is an error of status protocol.ExitUnsupported.
	Remove(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error)
}

// Migrator is a [ContinuousDelivery] that can run an app's migrations.
type Migrator interface {
	// Migrate runs those migrations of the app on the target that have not run there for
	// its version, with the image that is about to be deployed, and waits for their end. A
	// migration that failed is an error and has a report as well; the next call runs it
	// again. Nothing is deployed. It is safe to call it again after any crash, and from
	// two machines at once: no migration runs twice at a time.
	Migrate(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.MigrationReport, error)
}

// Reverter is a [ContinuousDelivery] that can bring back what ran before a deploy.
type Reverter interface {
	// TakeBack brings back what ran on the target before the deploy, and proves it as a
	// deploy does: the outcome is protocol.OutcomeRolledBack, or
	// protocol.OutcomePublished for devices that have not all reported. What runs must be
	// what the deploy brought, and what comes back what its result names as the one
	// before; otherwise it changes nothing, with an error of status
	// protocol.ExitUnsupported. each is that of [ClusterDelivery].
	TakeBack(ctx context.Context, app protocol.AppSpec, target string, from Setback, each func(protocol.DeployResult)) (protocol.DeployResult, error)
}

// Setback is a deploy to go back from.
type Setback struct {
	// Deployed is its result, and Clusters are those of the target's clusters, where it
	// has several.
	Deployed protocol.DeployResult
	// Clusters holds the last result of each cluster.
	Clusters []protocol.DeployResult
	// Reason says why, in one line.
	Reason string
}

// On is the result of the deploy for a cluster, or for the target when cluster is
// empty.
func (s Setback) On(cluster string) protocol.DeployResult {
	for _, result := range s.Clusters {
		if cluster != "" && result.Cluster == cluster {
			return result
		}
	}
	return s.Deployed
}

// Monitoring watches a deployed app.
type Monitoring interface {
	// Monitor makes the environment watch the app on the target as its AppSpec
	// says, and no longer watch what it does not say any more. Nothing to do is no
	// error but Unchanged.
	Monitor(ctx context.Context, app protocol.AppSpec, target string) (protocol.MonitoringResult, error)
}

// Checker runs the smoke checks of an app on a target. It is no capability that
// environments swap, only what a [SmokeScore] needs.
type Checker interface {
	// Check runs every check. A failed check is in the report, and is an
	// error of status protocol.ExitSmoke.
	Check(ctx context.Context, app protocol.AppSpec, target string) (protocol.SmokeReport, error)
}

// DeployedChecker is a [Checker] that is told what the deploy before it proved.
type DeployedChecker interface {
	// CheckDeployed is Check. deployed is the zero value where the checks are run without a
	// deploy before them.
	CheckDeployed(ctx context.Context, app protocol.AppSpec, deployed protocol.DeployResult, target string) (protocol.SmokeReport, error)
}

// Releaser is a topology that can release.
type Releaser interface {
	ContainerBuilder
	OCIRegistry
	HelmRegistry
}

// Environment is what the constructor of an adapter gets.
type Environment struct {
	// Topology is the one in force, and Provider its entry for the capability.
	Topology protocol.Topology
	// Provider is the topology's choice for this capability.
	Provider protocol.Provider
	// Cluster is the name of the cluster that the adapter is made for, where the
	// target is one of several; the topology has the target as inCluster then.
	Cluster string
	// DryRun asks the adapter to answer what it would do, as Planned documents,
	// and to change nothing.
	DryRun bool
	// Adopt says what a ContinuousDelivery may take over that somebody else made.
	Adopt Adoption
	// Progress takes the adapter's events; never nil. Stage and Target are
	// filled in by the runtime. It is safe for use by several goroutines.
	Progress func(protocol.Event)
	// Cache is a folder that the adapter may use, which need not exist; what
	// lies in it can be lost at any time. Its parent is shared by all stages.
	Cache string
}

// Adoption is what an adapter may take over that somebody else made. What it may
// not take over is left alone, with an error of status protocol.ExitUnsupported.
type Adoption string

const (
	// AdoptNothing leaves alone whatever harmony did not make.
	AdoptNothing Adoption = ""
	// AdoptSameChart takes over a release of the same chart, by its name.
	AdoptSameChart Adoption = "same-chart"
	// AdoptAnyChart takes over a release whatever chart it is of.
	AdoptAnyChart Adoption = "any-chart"
)

// Adapter makes an adapter of a capability. It looks at settings only and does
// no work; what it lacks is an error of status protocol.ExitUnsupported.
type Adapter[C any] func(ctx context.Context, env Environment) (C, error)
