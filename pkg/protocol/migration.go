package protocol

import (
	"fmt"
	"time"
)

// Migration is a container that has to have run on a target, and to have ended with 0,
// before a version of the app is deployed there. It runs once for each version and
// target, while what was deployed before still runs: it must do no harm to that.
type Migration struct {
	// Name tells it from the app's others: lower-case letters, digits and dashes.
	Name string `json:"name"`
	// Job is what runs. Its image is the one that is about to be deployed, by its
	// digest, unless it names another.
	Job JobSpec `json:"job"`
	// Timeout is how long it may take, above zero; [MigrationTimeout] when absent. The
	// cluster ends it then.
	Timeout Duration `json:"timeout,omitempty"`
	// Irreversible says that the release before cannot run on what it leaves. When the
	// smoke checks of a release with it fail, the target is not taken back.
	Irreversible bool `json:"irreversible,omitempty"`
}

// MigrationTimeout is how long a migration may take that does not say.
const MigrationTimeout = 10 * time.Minute

// Limit is the timeout, or the default.
func (m Migration) Limit() time.Duration {
	if m.Timeout > 0 {
		return time.Duration(m.Timeout)
	}
	return MigrationTimeout
}

// IrreversibleMigration is the name of the first migration that is irreversible, or "".
func (a AppSpec) IrreversibleMigration() string {
	for _, m := range a.Migrations {
		if m.Irreversible {
			return m.Name
		}
	}
	return ""
}

// validateMigrations checks the migrations of an app.
func (a AppSpec) validateMigrations(p *problems, field string) {
	distinct(p, field, "migration", a.Migrations, func(m Migration) string { return m.Name })
	for i, m := range a.Migrations {
		at := fmt.Sprintf("%s[%d]", field, i)
		p.name(at+".name", "a migration's", m.Name)
		m.Job.validate(p, at+".job", a)
		p.notNegative(at+".timeout", int64(m.Timeout))
	}
}

// MigrationReport tells the migrations of one app on one target.
type MigrationReport struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Target is where they ran, and Adapter the one that delivers there.
	Target string `json:"target"`
	// Adapter is what delivers to the target.
	Adapter string `json:"adapter"`
	// Passed is true when all of them have run for this version, now or earlier.
	Passed bool `json:"passed"`
	// Migrations are the results in order, those of a cluster together.
	Migrations []MigrationResult `json:"migrations"`
	// Summary is a line for people.
	Summary string `json:"summary"`
	// Unchanged is true when all of them had run earlier.
	Unchanged bool `json:"unchanged,omitempty"`
	// Planned is true in a dry run: nothing was run.
	Planned bool `json:"planned,omitempty"`
}

// DocumentKind implements [Spec].
func (MigrationReport) DocumentKind() Kind { return KindMigrationReport }

// MigrationStatus is how a migration ended.
type MigrationStatus string

// The statuses of a migration: it ran now, it had run earlier for this version, it
// failed, one before it failed, it would run.
const (
	MigrationDone      MigrationStatus = "done"
	MigrationUnchanged MigrationStatus = "unchanged"
	MigrationFailed    MigrationStatus = "failed"
	MigrationSkipped   MigrationStatus = "skipped"
	MigrationPlanned   MigrationStatus = "planned"
)

// MigrationResult is the end of one migration.
type MigrationResult struct {
	// Name is the migration's.
	Name string `json:"name"`
	// Cluster is the cluster of a multiCluster target that it was for.
	Cluster string `json:"cluster,omitempty"`
	// Status is the outcome.
	Status MigrationStatus `json:"status"`
	// Image is what it runs: a reference, by its digest where it is the app's own.
	Image string `json:"image,omitempty"`
	// Duration is how long its container took.
	Duration Duration `json:"duration"`
	// Message is the end of what it wrote, or why it failed.
	Message string `json:"message,omitempty"`
}

// NewMigrationReport sums up results. cause is what stopped them, or nil.
func NewMigrationReport(id Metadata, target, adapter string, results []MigrationResult, cause error) MigrationReport {
	r := MigrationReport{Metadata: id, Target: target, Adapter: adapter, Migrations: results, Passed: cause == nil}
	count := map[MigrationStatus]int{}
	for _, m := range results {
		count[m.Status]++
	}
	r.Planned = count[MigrationPlanned] > 0
	r.Unchanged = r.Passed && count[MigrationUnchanged] == len(results)
	switch {
	case !r.Passed:
		r.Summary = fmt.Sprintf("failed, %d of %d migrations done", count[MigrationDone]+count[MigrationUnchanged], len(results))
	case r.Unchanged:
		r.Summary = fmt.Sprintf("unchanged, %s done before", migrations(len(results)))
	case r.Planned:
		r.Summary = "would run " + migrations(count[MigrationPlanned])
	default:
		r.Summary = "ran " + migrations(count[MigrationDone])
	}
	if n := count[MigrationUnchanged]; n > 0 && r.Passed && !r.Unchanged {
		r.Summary += fmt.Sprintf(", %d done before", n)
	}
	return r
}

func migrations(n int) string {
	if n == 1 {
		return "1 migration"
	}
	return fmt.Sprintf("%d migrations", n)
}
