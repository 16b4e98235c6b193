// Package marks names the labels and annotations by which harmony finds again what
// it wrote: on objects of a cluster, in Helm releases, and on the artifacts that
// devices pull.
package marks

// Domain begins all of harmony's own.
const Domain = "harmony.nationtech.io/"

// ManagedBy is the label of whatever manages an object; its value is Harmony on
// what harmony made.
const (
	ManagedBy = "app.kubernetes.io/managed-by"
	Harmony   = "harmony"
)

// Check is the label of the Jobs of one smoke check of an app, and CheckName the annotation
// with its name, which may have characters that a label cannot.
const (
	Check     = Domain + "check"
	CheckName = Domain + "check-name"
)

// Migration is the label of the Jobs of an app's migrations, and MigrationName the
// annotation with the name of one.
const (
	Migration     = Domain + "migration"
	MigrationName = Domain + "migration-name"
)

// What an object is for, and the release that it runs.
const (
	App       = Domain + "app"
	Target    = Domain + "target"
	Namespace = Domain + "namespace"
	Release   = Domain + "release"
	Wave      = Domain + "wave"
	Image     = Domain + "image"
	Images    = Domain + "images"
	Version   = Domain + "version"
	Chart     = Domain + "chart"
	Values    = Domain + "values"
)

// Removed marks a tombstone: an artifact that has devices remove the app. Its value is
// "true".
const Removed = Domain + "removed"

// What is remembered for a rollback: the release before, the last one that all
// clusters ran, and the digest of the chart before.
const (
	Previous    = Domain + "previous"
	Good        = Domain + "good"
	ChartBefore = Domain + "chart-before"
)

// TakenBack says which version did not pass its smoke checks, and so is not what runs.
const TakenBack = Domain + "taken-back"

// What the namespace of a preview says: the target, as a label; the project and the
// branch; when it may be removed; and, each with this before its name, the apps in it.
const (
	Preview    = Domain + "preview"
	Project    = Domain + "project"
	Branch     = Domain + "branch"
	Expires    = Domain + "expires"
	PreviewApp = "preview." + Domain
)

// Ring is the tag of a ring of devices, Since when it became as healthy as it must be, and
// Before the digest of the state that all rings go back to.
const (
	Ring   = Domain + "ring"
	Since  = Domain + "since"
	Before = Domain + "before"
)

// Token says whose operation of Argo CD it is.
const Token = Domain + "token"
