package plugin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fleet delivers to the clusters a and b; b fails where the error says why.
type fleet struct{ err error }

func (fleet) Deploy(context.Context, protocol.AppSpec, string, protocol.ImageRef, protocol.ChartRef) (protocol.DeployResult, error) {
	panic("the stage asks for the clusters one by one")
}

func (f fleet) DeployEach(_ context.Context, app protocol.AppSpec, target string, _ protocol.ImageRef, _ protocol.ChartRef, each func(protocol.DeployResult)) (protocol.DeployResult, error) {
	result := protocol.DeployResult{Metadata: app.Metadata, Target: target, Outcome: protocol.OutcomeUpgraded, Cluster: "a"}
	each(result)
	result.Cluster = "b"
	if f.err != nil {
		result.Outcome = protocol.OutcomeFailed
	}
	each(result)
	result.Cluster = ""
	return result, f.err
}

// checks counts what it checks.
type checks struct{ done *int }

func (c checks) Check(_ context.Context, _ protocol.AppSpec, target string) (protocol.SmokeReport, error) {
	*c.done++
	return protocol.SmokeReport{Target: target, Passed: true}, nil
}

func deployTo(f fleet) plugin.Stage {
	return plugin.Deploy("1.0.0", plugin.Adapters[capability.ContinuousDelivery]{
		"fleet": func(context.Context, capability.Environment) (capability.ContinuousDelivery, error) { return f, nil },
	})
}

// One document for each cluster comes before the target's, and only that one
// makes the next stage work.
func TestClustersAndTheirTarget(t *testing.T) {
	topology := strings.Replace(topologyLine, `"spec":{`, `"spec":{"continuousDelivery":{"adapter":"fleet"},`, 1)
	chartLine := `{"apiVersion":"harmony.nationtech.io/v1","kind":"ChartRef","metadata":{"name":"app","version":"1.0.0"},"spec":{"chart":"app"}}`
	lines := []string{topology, appLine("app"), imageLine("app"), chartLine}
	for _, c := range []struct {
		name    string
		err     error
		code    int
		kinds   string
		checked int
	}{
		{"good", nil, 0, "DeployResult a,DeployResult b,DeployResult ", 1},
		{"bad", &protocol.Error{Code: 4, Message: "b failed"}, 4, "DeployResult a,DeployResult b,DeployResult ,Failure ", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, written := run(t, deployTo(fleet{c.err}), plugin.Invocation{Target: "staging"}, lines...)
			if got := kindsOf(t, results(written, lines)); code != c.code || got != c.kinds {
				t.Errorf("status %d, results %s, want %d and %s", code, got, c.code, c.kinds)
			}
			checked := 0
			smoke := plugin.Smoke("1.0.0", func(context.Context, capability.Environment) (capability.Checker, error) {
				return checks{&checked}, nil
			})
			code, _ = run(t, smoke, plugin.Invocation{}, written...)
			if code != c.code || checked != c.checked {
				t.Errorf("smoke: status %d after %d checks, want %d after %d", code, checked, c.code, c.checked)
			}
		})
	}
}

// kindsOf are the documents' kinds, with the cluster.
func kindsOf(t *testing.T, lines []string) string {
	t.Helper()
	var all []string
	for _, line := range lines {
		d, err := protocol.Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		result := protocol.DeployResult{}
		if d.Kind == protocol.KindDeployResult {
			if result, err = protocol.Decode[protocol.DeployResult](d); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, string(d.Kind)+" "+result.Cluster)
	}
	return strings.Join(all, ",")
}
