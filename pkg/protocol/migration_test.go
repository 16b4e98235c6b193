package protocol_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestMigrationsValidate(t *testing.T) {
	app := protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "shop"}, Image: protocol.ImageSource{Ref: "nginx:1"},
		Chart: protocol.ChartSource{Path: "chart", Image: protocol.ImagePlaces{{Value: "image"}}},
	}
	app.Migrations = []protocol.Migration{{Name: "schema", Timeout: protocol.Duration(time.Minute)}, {Name: "words", Job: protocol.JobSpec{Image: "postgres:17"}}}
	if err := app.Validate(); err != nil {
		t.Error(err)
	}
	app.Migrations = []protocol.Migration{
		{Name: "schema"}, {Name: "schema"}, {Name: "No"}, {},
		{Name: "worker", Job: protocol.JobSpec{AppImage: "worker"}}, {Name: "late", Timeout: -1},
	}
	want := []string{"spec.migrations[1].name", "spec.migrations[2].name", "spec.migrations[3].name", "spec.migrations[4].job.appImage", "spec.migrations[5].timeout"}
	if got := fieldsOf(t, app.Validate()); !slices.Equal(got, want) {
		t.Errorf("problems at %q, want %q", got, want)
	}
	app.Image, app.Chart.Image = protocol.ImageSource{}, nil
	app.Migrations = []protocol.Migration{{Name: "schema"}}
	if got := fieldsOf(t, app.Validate()); !slices.Equal(got, []string{"spec.migrations[0].job.image"}) {
		t.Errorf("without an image: problems at %q", got)
	}
}

func TestMigrationReportSummary(t *testing.T) {
	const done, same, failed, skipped, planned = protocol.MigrationDone, protocol.MigrationUnchanged, protocol.MigrationFailed, protocol.MigrationSkipped, protocol.MigrationPlanned
	for _, test := range []struct {
		statuses []protocol.MigrationStatus
		err      error
		want     string
	}{
		{[]protocol.MigrationStatus{done}, nil, "ran 1 migration"},
		{[]protocol.MigrationStatus{same, done, done}, nil, "ran 2 migrations, 1 done before"},
		{[]protocol.MigrationStatus{same, same}, nil, "unchanged, 2 migrations done before"},
		{[]protocol.MigrationStatus{same, planned}, nil, "would run 1 migration, 1 done before"},
		{[]protocol.MigrationStatus{same, done, failed, skipped}, errors.New("no"), "failed, 2 of 4 migrations done"},
	} {
		var results []protocol.MigrationResult
		for _, status := range test.statuses {
			results = append(results, protocol.MigrationResult{Status: status})
		}
		r := protocol.NewMigrationReport(protocol.Metadata{Name: "shop"}, "staging", "helm", results, test.err)
		unchanged := !slices.ContainsFunc(test.statuses, func(s protocol.MigrationStatus) bool { return s != same })
		if r.Summary != test.want || r.Passed != (test.err == nil) || r.Unchanged != unchanged || r.Planned != slices.Contains(test.statuses, planned) {
			t.Errorf("%v: %+v, want %q", test.statuses, r, test.want)
		}
	}
}
