package capability

import (
	"context"
	"fmt"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/pkg/protocol"
)

// The names of the stages that carry out the scores.
const (
	StageBuild   = "build"
	StagePublish = "publish"
	StageMigrate = "migrate"
	StageDeploy  = "deploy"
	StageSmoke   = "smoke"
	StageMonitor = "monitor"
)

// Score is a unit of work for one app. A pipeline is a list of scores, run in
// order.
type Score interface {
	// Title names the work, such as "release" or "deploy staging"; the scores
	// of one title, for several apps, may run side by side.
	Title() string
	// App is the app that it works on, with the version of this release.
	App() protocol.AppSpec
	// Run does the work, puts each result into the record as soon as it exists,
	// and returns a [*StageError] when it fails.
	Run(ctx context.Context, record *Record) error
}

// StageError says in which stage a score failed.
type StageError struct {
	// Stage is the name of the stage that failed.
	Stage string
	// Target is that of a migrate, deploy or smoke stage.
	Target string
	// Err is what went wrong.
	Err error
}

// Error implements error.
func (e *StageError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *StageError) Unwrap() error { return e.Err }

type scored[T any] struct {
	topology T
	app      protocol.AppSpec
	target   string
}

func newScored[T any](topology T, app protocol.AppSpec, version semver.Version, target string) scored[T] {
	app.Version = version.String()
	return scored[T]{topology, app, target}
}

// App implements [Score].
func (s scored[T]) App() protocol.AppSpec { return s.app }

// keep puts a result into the record, or says in which stage it went wrong.
func (s scored[T]) keep(record *Record, stage string, result protocol.Spec, err error) error {
	if err != nil {
		return &StageError{stage, s.target, err}
	}
	record.Add(stage, s.target, result)
	return nil
}

// ReleaseScore builds an app's image and publishes image and chart.
type ReleaseScore[T Releaser] struct{ scored[T] }

// NewReleaseScore releases the app as version on a topology that can.
func NewReleaseScore[T Releaser](topology T, app protocol.AppSpec, version semver.Version) ReleaseScore[T] {
	return ReleaseScore[T]{newScored(topology, app, version, "")}
}

// Title implements [Score].
func (ReleaseScore[T]) Title() string { return "release" }

// Run implements [Score]. Of an app without an image it publishes the chart alone.
func (s ReleaseScore[T]) Run(ctx context.Context, record *Record) error {
	if s.app.Image.IsNone() {
		return s.pushChart(ctx, record, protocol.ImageRef{Metadata: s.app.Metadata})
	}
	built, err := s.topology.BuildImage(ctx, s.app)
	if err := s.keep(record, StageBuild, built, err); err != nil {
		return err
	}
	image, err := s.topology.PushImage(ctx, s.app, built)
	if err := s.keep(record, StagePublish, image, err); err != nil {
		return err
	}
	return s.pushChart(ctx, record, image)
}

func (s ReleaseScore[T]) pushChart(ctx context.Context, record *Record, image protocol.ImageRef) error {
	chart, err := s.topology.PushChart(ctx, s.app, image)
	return s.keep(record, StagePublish, chart, err)
}

// MigrationScore runs the migrations of a released app on a target.
type MigrationScore[T Migrator] struct{ scored[T] }

// NewMigrationScore runs them for the version of the app that an earlier ReleaseScore has
// put into the record.
func NewMigrationScore[T Migrator](topology T, app protocol.AppSpec, version semver.Version, target string) MigrationScore[T] {
	return MigrationScore[T]{newScored(topology, app, version, target)}
}

// Title implements [Score].
func (s MigrationScore[T]) Title() string { return "migrate " + s.target }

// Run implements [Score]. The report is in the record also when a migration failed.
func (s MigrationScore[T]) Run(ctx context.Context, record *Record) error {
	image, chart, err := s.released(record, StageMigrate)
	if err != nil {
		return err
	}
	report, err := s.topology.Migrate(ctx, s.app, s.target, image, chart)
	if err != nil && len(report.Migrations) > 0 {
		record.Add(StageMigrate, s.target, report)
	}
	return s.keep(record, StageMigrate, report, err)
}

// DeployScore brings a released app to a target.
type DeployScore[T ContinuousDelivery] struct{ scored[T] }

// NewDeployScore deploys the version of the app that an earlier ReleaseScore has
// put into the record.
func NewDeployScore[T ContinuousDelivery](topology T, app protocol.AppSpec, version semver.Version, target string) DeployScore[T] {
	return DeployScore[T]{newScored(topology, app, version, target)}
}

// Title implements [Score].
func (s DeployScore[T]) Title() string { return "deploy " + s.target }

// released are the image and the chart that an earlier ReleaseScore has put into the
// record.
func (s scored[T]) released(record *Record, stage string) (protocol.ImageRef, protocol.ChartRef, error) {
	image, chart, ok := record.Artifacts(s.app.Name)
	if s.app.Image.IsNone() {
		image, ok = protocol.ImageRef{Metadata: s.app.Metadata}, chart.Name != ""
	}
	if !ok {
		return image, chart, &StageError{stage, s.target, fmt.Errorf("app %q has no published image and chart to deploy", s.app.Name)}
	}
	return image, chart, nil
}

// Run implements [Score].
func (s DeployScore[T]) Run(ctx context.Context, record *Record) error {
	image, chart, err := s.released(record, StageDeploy)
	if err != nil {
		return err
	}
	result, err := s.topology.Deploy(ctx, s.app, s.target, image, chart)
	if err != nil && (result.Outcome == protocol.OutcomeRolledBack || result.Outcome == protocol.OutcomeFailed) {
		record.Add(StageDeploy, s.target, result)
	}
	return s.keep(record, StageDeploy, result, err)
}

// SmokeScore checks a deployed app on a target.
type SmokeScore[T Checker] struct{ scored[T] }

// NewSmokeScore checks the app on the target.
func NewSmokeScore[T Checker](topology T, app protocol.AppSpec, version semver.Version, target string) SmokeScore[T] {
	return SmokeScore[T]{newScored(topology, app, version, target)}
}

// Title implements [Score].
func (s SmokeScore[T]) Title() string { return "smoke " + s.target }

// Run implements [Score]. The report is in the record also when a check failed.
func (s SmokeScore[T]) Run(ctx context.Context, record *Record) error {
	report, err := s.topology.Check(ctx, s.app, s.target)
	if err != nil && len(report.Checks) > 0 {
		record.Add(StageSmoke, s.target, report)
	}
	return s.keep(record, StageSmoke, report, err)
}

// MonitoringScore sets up monitoring for a deployed app on a target.
type MonitoringScore[T Monitoring] struct{ scored[T] }

// NewMonitoringScore sets up monitoring for the app on the target.
func NewMonitoringScore[T Monitoring](topology T, app protocol.AppSpec, version semver.Version, target string) MonitoringScore[T] {
	return MonitoringScore[T]{newScored(topology, app, version, target)}
}

// Title implements [Score].
func (s MonitoringScore[T]) Title() string { return "monitor " + s.target }

// Run implements [Score].
func (s MonitoringScore[T]) Run(ctx context.Context, record *Record) error {
	result, err := s.topology.Monitor(ctx, s.app, s.target)
	return s.keep(record, StageMonitor, result, err)
}
