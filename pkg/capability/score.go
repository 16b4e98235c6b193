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
	// Target is that of a deploy or smoke stage.
	Target string
	// Err is what went wrong.
	Err error
}

// Error implements error.
func (e *StageError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *StageError) Unwrap() error { return e.Err }

// ReleaseScore builds an app's image and publishes image and chart.
type ReleaseScore[T Releaser] struct {
	topology T
	app      protocol.AppSpec
}

// NewReleaseScore releases the app as version on a topology that can.
func NewReleaseScore[T Releaser](topology T, app protocol.AppSpec, version semver.Version) ReleaseScore[T] {
	app.Version = version.String()
	return ReleaseScore[T]{topology, app}
}

// Title implements [Score].
func (ReleaseScore[T]) Title() string { return "release" }

// App implements [Score].
func (s ReleaseScore[T]) App() protocol.AppSpec { return s.app }

// Run implements [Score].
func (s ReleaseScore[T]) Run(ctx context.Context, record *Record) error {
	built, err := s.topology.BuildImage(ctx, s.app)
	if err != nil {
		return &StageError{Stage: StageBuild, Err: err}
	}
	record.Add(StageBuild, "", built)
	image, err := s.topology.PushImage(ctx, s.app, built)
	if err != nil {
		return &StageError{Stage: StagePublish, Err: err}
	}
	record.Add(StagePublish, "", image)
	chart, err := s.topology.PushChart(ctx, s.app, image)
	if err != nil {
		return &StageError{Stage: StagePublish, Err: err}
	}
	record.Add(StagePublish, "", chart)
	return nil
}

// DeployScore brings a released app to a target.
type DeployScore[T ContinuousDelivery] struct {
	topology T
	app      protocol.AppSpec
	target   string
}

// NewDeployScore deploys the version of the app that a ReleaseScore before it
// has put into the record.
func NewDeployScore[T ContinuousDelivery](topology T, app protocol.AppSpec, version semver.Version, target string) DeployScore[T] {
	app.Version = version.String()
	return DeployScore[T]{topology, app, target}
}

// Title implements [Score].
func (s DeployScore[T]) Title() string { return "deploy " + s.target }

// App implements [Score].
func (s DeployScore[T]) App() protocol.AppSpec { return s.app }

// Run implements [Score].
func (s DeployScore[T]) Run(ctx context.Context, record *Record) error {
	image, chart, ok := record.Artifacts(s.app.Name)
	if !ok {
		err := fmt.Errorf("app %q has no published image and chart to deploy", s.app.Name)
		return &StageError{StageDeploy, s.target, err}
	}
	result, err := s.topology.Deploy(ctx, s.app, s.target, image, chart)
	if err == nil || result.Outcome == protocol.OutcomeRolledBack || result.Outcome == protocol.OutcomeFailed {
		record.Add(StageDeploy, s.target, result)
	}
	if err != nil {
		return &StageError{StageDeploy, s.target, err}
	}
	return nil
}

// SmokeScore checks a deployed app on a target.
type SmokeScore[T Checker] struct {
	topology T
	app      protocol.AppSpec
	target   string
}

// NewSmokeScore checks the app on the target.
func NewSmokeScore[T Checker](topology T, app protocol.AppSpec, version semver.Version, target string) SmokeScore[T] {
	app.Version = version.String()
	return SmokeScore[T]{topology, app, target}
}

// Title implements [Score].
func (s SmokeScore[T]) Title() string { return "smoke " + s.target }

// App implements [Score].
func (s SmokeScore[T]) App() protocol.AppSpec { return s.app }

// Run implements [Score]. The report is in the record also when a check failed.
func (s SmokeScore[T]) Run(ctx context.Context, record *Record) error {
	report, err := s.topology.Check(ctx, s.app, s.target)
	if len(report.Checks) > 0 || err == nil {
		record.Add(StageSmoke, s.target, report)
	}
	if err != nil {
		return &StageError{StageSmoke, s.target, err}
	}
	return nil
}

// MonitoringScore sets up monitoring for a deployed app on a target.
type MonitoringScore[T Monitoring] struct {
	topology T
	app      protocol.AppSpec
	target   string
}

// NewMonitoringScore sets up monitoring for the app on the target.
func NewMonitoringScore[T Monitoring](topology T, app protocol.AppSpec, version semver.Version, target string) MonitoringScore[T] {
	app.Version = version.String()
	return MonitoringScore[T]{topology, app, target}
}

// Title implements [Score].
func (s MonitoringScore[T]) Title() string { return "monitor " + s.target }

// App implements [Score].
func (s MonitoringScore[T]) App() protocol.AppSpec { return s.app }

// Run implements [Score].
func (s MonitoringScore[T]) Run(ctx context.Context, record *Record) error {
	result, err := s.topology.Monitor(ctx, s.app, s.target)
	if err != nil {
		return &StageError{StageMonitor, s.target, err}
	}
	record.Add(StageMonitor, s.target, result)
	return nil
}
