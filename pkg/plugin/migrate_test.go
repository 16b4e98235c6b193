package plugin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// migrating is a fleet whose migrations end with an error, or nil.
type migrating struct {
	fleet
	failure error
}

func (m migrating) Migrate(_ context.Context, app protocol.AppSpec, target string, _ protocol.ImageRef, _ protocol.ChartRef) (protocol.MigrationReport, error) {
	status := protocol.MigrationDone
	if m.failure != nil {
		status = protocol.MigrationFailed
	}
	return protocol.NewMigrationReport(app.Metadata, target, "fleet", []protocol.MigrationResult{{Name: "schema", Status: status}}, m.failure), m.failure
}

// migrated is the stream of an app with migrations, up to its chart.
func migrated() []string {
	app := strings.Replace(appLine("app"), `"spec":{`, `"spec":{"migrations":[{"name":"schema","job":{"image":"postgres:17"}}],`, 1)
	return []string{strings.Replace(topologyLine, `"spec":{`, `"spec":{"continuousDelivery":{"adapter":"fleet"},`, 1), app, imageLine("app"),
		`{"apiVersion":"harmony.nationtech.io/v1","kind":"ChartRef","metadata":{"name":"app","version":"1.0.0"},"spec":{"path":"/app.tgz","chart":"app","chartVersion":"1.0.0","digest":"sha256:c","image":{"value":"image"}}}`}
}

func fleetOf(d capability.ContinuousDelivery) plugin.Adapters[capability.ContinuousDelivery] {
	return plugin.Adapters[capability.ContinuousDelivery]{
		"fleet": func(context.Context, capability.Environment) (capability.ContinuousDelivery, error) { return d, nil },
	}
}

func TestMigrate(t *testing.T) {
	without := migrated()
	without[1] = appLine("app")
	for name, test := range map[string]struct {
		adapter capability.ContinuousDelivery
		lines   []string
		code    int
		want    string
	}{
		"done":           {migrating{}, migrated(), 0, `"passed":true,"migrations":[{"name":"schema","status":"done"`},
		"failed":         {migrating{failure: &protocol.Error{Code: 1, Message: "exit code 3"}}, migrated(), 1, `"stage":"migrate","target":"staging","code":1,"message":"exit code 3"`},
		"adapter cannot": {fleet{}, migrated(), 3, `the adapter of target \"staging\" runs no migrations`},
		"none":           {fleet{}, without, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, written := run(t, plugin.Migrate("1.0.0", fleetOf(test.adapter)), plugin.Invocation{Target: "staging"}, test.lines...)
			made := strings.Join(results(written, test.lines), "\n")
			if code != test.code || !strings.Contains(made, test.want) || (test.want == "") != (made == "") {
				t.Errorf("status %d, want %d: %s", code, test.code, made)
			}
		})
	}
}

// A deploy waits for what becomes of the app's migrations on its target, and goes on without
// them when the stream ends.
func TestDeployAwaitsMigrations(t *testing.T) {
	report := func(target, passed string) string {
		return `{"apiVersion":"harmony.nationtech.io/v1","kind":"MigrationReport","metadata":{"name":"app","version":"1.0.0"},"spec":{"target":"` + target + `","adapter":"fleet","passed":` + passed + `,"migrations":[],"summary":"x"}}`
	}
	const failure = `{"apiVersion":"harmony.nationtech.io/v1","kind":"Failure","metadata":{"name":"app","version":"1.0.0"},"spec":{"stage":"migrate","target":"staging","code":1,"message":"exit code 3"}}`
	for name, test := range map[string]struct {
		more     []string
		code     int
		deployed bool
	}{
		"passed":            {[]string{report("staging", "true")}, 0, true},
		"no report":         {nil, 0, true},
		"failed":            {[]string{report("staging", "false"), failure}, 1, false},
		"of another target": {[]string{report("production", "true"), report("staging", "false"), failure}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			lines := append(migrated(), test.more...)
			code, written := run(t, plugin.Deploy("1.0.0", fleetOf(fleet{})), plugin.Invocation{Target: "staging"}, lines...)
			made := strings.Join(results(written, lines), "\n")
			if code != test.code || strings.Contains(made, "DeployResult") != test.deployed {
				t.Errorf("status %d, want %d: %s", code, test.code, made)
			}
		})
	}
}
