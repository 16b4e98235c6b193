package protocol

import (
	"encoding/json"
)

// ChartRef says where the app's chart is now. Either URL or Path is set.
type ChartRef struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// URL is the chart's OCI repository, without a version:
	// oci://registry.example.com/fleet-charts/operator.
	URL string `json:"url,omitempty"`
	// Path is a packaged chart on this machine, absolute.
	Path string `json:"path,omitempty"`
	// Chart is the chart's name and ChartVersion its version.
	Chart string `json:"chart"`
	// ChartVersion is the chart's semantic version.
	ChartVersion string `json:"chartVersion"`
	// Digest is that of the OCI manifest for a URL, and that of the archive for
	// a Path: sha256:…
	Digest string `json:"digest"`
	// Image tells where the chart's values take the image; they hold it already.
	Image ImagePlaces `json:"image"`
	// Images tells the same of the app's further images, by their names.
	Images map[string]ImagePlaces `json:"images,omitempty"`
	// Pinned is true when the chart names all its images by digest. A deploy refuses
	// values with which it does not.
	Pinned bool `json:"pinned,omitempty"`
	// Insecure is true when the registry is spoken to by plain http.
	Insecure bool `json:"insecure,omitempty"`
	// Unchanged is true when the chart was there before.
	Unchanged bool `json:"unchanged,omitempty"`
	// Planned is true in a dry run: nothing was done. Digest is then empty when
	// the image's is not known yet.
	Planned bool `json:"planned,omitempty"`
}

// DocumentKind implements [Spec].
func (ChartRef) DocumentKind() Kind { return KindChartRef }

// Outcome is what a deploy did.
type Outcome string

// The outcomes of a deploy. A result that is rolled back comes with a Failure,
// and tells what runs since.
const (
	OutcomeInstalled  Outcome = "installed"
	OutcomeUpgraded   Outcome = "upgraded"
	OutcomeUnchanged  Outcome = "unchanged"
	OutcomeRolledBack Outcome = "rolled-back"
)

// The further outcomes on a multiCluster target: one that failed and was not
// rolled back, and one that the rollout did not reach.
const (
	OutcomeFailed  Outcome = "failed"
	OutcomeSkipped Outcome = "skipped"
)

// OutcomePaused is that of a deploy that went as far as it may for now: the rollout waits,
// or somebody has to let it go on. It is no failure, and later steps are not for it yet.
const OutcomePaused Outcome = "paused"

// OutcomePublished is that of an edgeDevice target: the desired state is where the
// devices pull it, and not all of them have reported that they run it, or, for an
// uninstall, that the app is gone.
const OutcomePublished Outcome = "published"

// The outcomes of an uninstall: the app was there and is gone, or it was not there.
const (
	OutcomeRemoved Outcome = "removed"
	OutcomeAbsent  Outcome = "absent"
)

// OutcomeGivenBack is that of harmony adopt --release: the app runs on, and whoever
// managed it before goes on with it.
const OutcomeGivenBack Outcome = "given-back"

// Delivered reports an outcome after which this release runs. One that is not
// known does: a deploy that failed has its Failure in any case.
func (o Outcome) Delivered() bool {
	switch o {
	case OutcomeRolledBack, OutcomeFailed, OutcomeSkipped, OutcomePaused, OutcomeRemoved, OutcomeAbsent, OutcomeGivenBack:
		return false
	}
	return true
}

// DeployResult is the proof of a deploy: the digests that really run.
type DeployResult struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Target is the target's name and Adapter the one that delivered.
	Target string `json:"target"`
	// Adapter is what deployed the app.
	Adapter string `json:"adapter"`
	// Context is the kubeconfig context, where one was named.
	Context string `json:"context,omitempty"`
	// Namespace is that of the release.
	Namespace string `json:"namespace,omitempty"`
	// Release is the name and Revision the number of the Helm release.
	Release string `json:"release,omitempty"`
	// Revision is the release's number, where the adapter counts.
	Revision int `json:"revision,omitempty"`
	// Outcome is what was done.
	Outcome Outcome `json:"outcome"`
	// Image is the digest proven to be running, Chart that of the chart in
	// force; the Previous ones are those before this deploy, where known.
	Image string `json:"image"`
	// Chart is the digest of the chart.
	Chart string `json:"chart"`
	// Images are the digests of the app's further images that are proven too, by the
	// names of [AppSpec.Images].
	Images map[string]string `json:"images,omitempty"`
	// PreviousImage is the digest before, where it is known.
	PreviousImage string `json:"previousImage,omitempty"`
	// PreviousChart is the chart's digest before, where it is known.
	PreviousChart string `json:"previousChart,omitempty"`
	// PreviousRevision is the release's number before, where the adapter counts; zero
	// where it is not known or there was none.
	PreviousRevision int `json:"previousRevision,omitempty"`
	// Irreversible names what says that the release before cannot come back: chart NAME,
	// or the kind and name of an object that it renders, by an annotation; or migration
	// NAME. Empty
	// where nothing does. It also says so when the chart could not be read.
	Irreversible string `json:"irreversible,omitempty"`
	// RunningVersion is the app's version that runs since a rollback, where it is
	// known; empty for other outcomes, after which that of the metadata runs.
	RunningVersion string `json:"runningVersion,omitempty"`
	// Drift names what somebody changed on the cluster by hand, where the topology
	// says that it is reported and not repaired.
	Drift []string `json:"drift,omitempty"`
	// Adopted says who managed the release before it was taken over by this deploy:
	// helm, argocd, or the field managers of a HelmRelease or of plain objects.
	Adopted string `json:"adopted,omitempty"`
	// Planned is true in a dry run: Outcome is what would be done.
	Planned bool `json:"planned,omitempty"`
	// Cluster makes it the result of one cluster of a multiCluster target, by the
	// cluster's name. That of the target as a whole has none; it comes last.
	Cluster string `json:"cluster,omitempty"`
	// Message says why a cluster failed or was skipped, why the target was taken back, or
	// what a paused rollout waits for.
	Message string `json:"message,omitempty"`
	// Clusters counts the clusters, in the result of a multiCluster target.
	Clusters *ClusterCount `json:"clusters,omitempty"`
	// Published is the desired state of an edgeDevice target. Image and Chart are
	// empty there until every known device has reported that it runs them.
	Published *PublishedState `json:"published,omitempty"`
	// Removed are the objects that an uninstall deletes, and Kept those of the app
	// that it leaves on the cluster.
	Removed []ObjectRef `json:"removed,omitempty"`
	// Kept are objects that stay.
	Kept []ObjectRef `json:"kept,omitempty"`
}

// ObjectRef names an object of a cluster.
type ObjectRef struct {
	// Resource is its kind with the API group, in lower case, as kubectl takes it:
	// deployment.apps, persistentvolumeclaim.
	Resource string `json:"resource"`
	// Name is the object's.
	Name string `json:"name"`
	// Namespace is empty for an object that is in none.
	Namespace string `json:"namespace,omitempty"`
	// Context is the kubeconfig context of its cluster, where one was named.
	Context string `json:"context,omitempty"`
}

// String is resource/name, as kubectl takes it.
func (r ObjectRef) String() string { return r.Resource + "/" + r.Name }

// DocumentKind implements [Spec].
func (DeployResult) DocumentKind() Kind { return KindDeployResult }

// SmokeReport tells every smoke check of one app on one target.
type SmokeReport struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Target is where the checks ran.
	Target string `json:"target"`
	// Passed is true when no check failed.
	Passed bool `json:"passed"`
	// Checks are the results in order.
	Checks []CheckResult `json:"checks"`
	// Planned is true in a dry run: every check is skipped.
	Planned bool `json:"planned,omitempty"`
}

// DocumentKind implements [Spec].
func (SmokeReport) DocumentKind() Kind { return KindSmokeReport }

// CheckStatus is how a check ended.
type CheckStatus string

// The statuses of a check. A check is skipped when one that it needs did not pass, or when it
// cannot be run on the target.
const (
	CheckPassed  CheckStatus = "passed"
	CheckFailed  CheckStatus = "failed"
	CheckSkipped CheckStatus = "skipped"
)

// CheckResult is the end of one smoke check.
type CheckResult struct {
	// Name is the check's.
	Name string `json:"name"`
	// Cluster is the cluster of a multiCluster target that it was run on.
	Cluster string `json:"cluster,omitempty"`
	// Type is the kind of the check, such as rollout or http.
	Type string `json:"type"`
	// Status is the outcome.
	Status CheckStatus `json:"status"`
	// Duration is how long all attempts took.
	Duration Duration `json:"duration"`
	// Attempts is how often it was tried.
	Attempts int `json:"attempts,omitempty"`
	// Message says what was seen, above all when the check failed.
	Message string `json:"message,omitempty"`
}

// The phases that open and close the work of a stage on an app.
const (
	PhaseStart = "start"
	PhaseEnd   = "end"
)

// PhaseStep is the phase of an event that is worth a line of its own where lines
// cannot be redrawn: a step of a build that began or ended.
const PhaseStep = "step"

// PhaseExplain is the phase of an event that a person asked for, with --explain:
// a line that stays, wherever it is shown.
const PhaseExplain = "explain"

// Event is progress, on the events channel only: the file descriptor named by
// the environment variable HARMONY_EVENTS_FD.
type Event struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Stage is the stage that is at work.
	Stage string `json:"stage"`
	// Target is that of a stage that has one.
	Target string `json:"target,omitempty"`
	// Phase is the step within the stage, such as compile, push or rollout.
	Phase string `json:"phase"`
	// Current of Total, in Unit (bytes, layers, pods); zero when not counted.
	Current int64 `json:"current,omitempty"`
	// Total is the end of Current, where it is known.
	Total int64 `json:"total,omitempty"`
	// Unit is that of Current and Total: bytes.
	Unit string `json:"unit,omitempty"`
	// Message is for people.
	Message string `json:"message,omitempty"`
}

// DocumentKind implements [Spec].
func (Event) DocumentKind() Kind { return KindEvent }

// Result is a result document of any kind, also of one that this package does
// not know, with what every result may tell of itself. It is encoded as the
// document that it was read from.
type Result struct {
	// Document is what was read.
	Document `json:"-"`
	// Target is where it was done, and Adapter the one that did it.
	Target string `json:"target"`
	// Adapter is what did it.
	Adapter string `json:"adapter"`
	// Summary is a line for people.
	Summary string `json:"summary"`
	// Unchanged is true when there was nothing to do, Planned in a dry run.
	Unchanged bool `json:"unchanged"`
	// Planned is true in a dry run.
	Planned bool `json:"planned"`
	// Capability is the one that the stage stands for, where the reader knows it.
	Capability string `json:"-"`
}

// DocumentKind implements [Spec].
func (r Result) DocumentKind() Kind { return r.Kind }

// Identity implements [Spec].
func (r Result) Identity() Metadata { return r.Metadata }

// ResultOf reads what a document tells of itself. A field that the kind uses for
// something else is left empty.
func ResultOf(d Document) Result {
	r := Result{Document: d}
	var fields map[string]json.RawMessage
	if json.Unmarshal(d.Spec, &fields) != nil {
		return r
	}
	for name, into := range map[string]any{
		"target": &r.Target, "adapter": &r.Adapter, "summary": &r.Summary, "unchanged": &r.Unchanged, "planned": &r.Planned,
	} {
		// What is of another type stays unset.
		_ = json.Unmarshal(fields[name], into)
	}
	return r
}
