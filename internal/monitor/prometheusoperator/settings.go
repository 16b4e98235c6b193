package prometheusoperator

import (
	"fmt"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/pkg/capability"
)

// options are the adapter's own settings in the topology.
type options struct {
	// labels are put on every object: those by which Prometheus and Alertmanager
	// choose what to read, such as release: kube-prometheus-stack.
	labels map[string]string
}

func readSettings(env capability.Environment) (options, error) {
	var o options
	err := settings.Of(env, "monitoring", settings.Table{"labels": settings.Labels(&o.labels,
		fmt.Sprintf("labels other than %s and %s, which harmony sets", marks.App, marks.ManagedBy),
		func(name, _ string) bool { return name != marks.App && name != marks.ManagedBy })})
	return o, err
}
