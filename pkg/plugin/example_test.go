package plugin_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// spinnaker is an adapter of one's own.
type spinnaker struct{}

func (spinnaker) Deploy(_ context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	return protocol.DeployResult{
		Metadata: app.Metadata, Target: target, Adapter: "spinnaker",
		Outcome: protocol.OutcomeUpgraded, Image: image.Digest, Chart: chart.Digest,
	}, nil
}

// A deploy stage with an adapter of one's own. A main function hands the stage
// to command.Main instead.
func Example() {
	stage := plugin.Deploy("1.0.0", plugin.Adapters[capability.ContinuousDelivery]{
		"spinnaker": func(context.Context, capability.Environment) (capability.ContinuousDelivery, error) {
			return spinnaker{}, nil
		},
	})
	stdin := `{"apiVersion":"harmony.nationtech.io/v1","kind":"Topology","metadata":{"name":"mine"},"spec":{"continuousDelivery":{"adapter":"spinnaker"},"targets":{"staging":{"inCluster":{"namespace":"fleet"}}}}}
{"apiVersion":"harmony.nationtech.io/v1","kind":"AppSpec","metadata":{"name":"app","version":"1.0.0"},"spec":{"image":{"buildable":{"type":"go"}},"chart":{"path":"chart","image":{"value":"image"}}}}
{"apiVersion":"harmony.nationtech.io/v1","kind":"ImageRef","metadata":{"name":"app","version":"1.0.0"},"spec":{"repository":"app","digest":"sha256:1"}}
{"apiVersion":"harmony.nationtech.io/v1","kind":"ChartRef","metadata":{"name":"app","version":"1.0.0"},"spec":{"chart":"app","chartVersion":"1.0.0","digest":"sha256:2","image":{"value":"image"}}}
`
	status := stage.Run(context.Background(), plugin.Invocation{
		Stdin: strings.NewReader(stdin), Stdout: onlyResults{}, Target: "staging",
	})
	fmt.Println("status", status)
	// Output:
	// {"apiVersion":"harmony.nationtech.io/v1","kind":"DeployResult","metadata":{"name":"app","version":"1.0.0"},"spec":{"target":"staging","adapter":"spinnaker","outcome":"upgraded","image":"sha256:1","chart":"sha256:2"}}
	// status 0
}

// onlyResults shows the lines that tell a result.
type onlyResults struct{}

func (onlyResults) Write(line []byte) (int, error) {
	if strings.Contains(string(line), `"DeployResult"`) {
		return os.Stdout.Write(line)
	}
	return len(line), nil
}
