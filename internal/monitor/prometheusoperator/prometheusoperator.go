// Package prometheusoperator has Prometheus and Alertmanager watch apps, through
// the objects of the Prometheus operator: a ServiceMonitor
// for the metrics, a PrometheusRule for the alerts, and an AlertmanagerConfig for
// each route. It writes them by server-side apply, with a label that names the
// app, and removes those that the app does not ask for any more.
//
// No state is kept on the machine: each call reads the objects and makes the
// missing changes. Objects that somebody else made are left alone.
package prometheusoperator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Name is the adapter's name in a topology.
const Name = "prometheus-operator"

// New makes the adapter. The flags say what the user of the command line chose;
// they win over the target's own settings, and may be nil.
func New(flags *conn.Flags) capability.Adapter[capability.Monitoring] {
	return func(_ context.Context, env capability.Environment) (capability.Monitoring, error) {
		s, err := readSettings(env)
		if err != nil {
			return nil, err
		}
		return &adapter{flags: flags, env: env, settings: s}, nil
	}
}

// adapter is safe for use by several goroutines: a call holds its own state.
type adapter struct {
	flags    *conn.Flags
	env      capability.Environment
	settings options
}

// Monitor implements [capability.Monitoring]. The objects are in the target's
// namespace, on each of its clusters.
func (a *adapter) Monitor(ctx context.Context, app protocol.AppSpec, target string) (protocol.MonitoringResult, error) {
	result := protocol.MonitoringResult{
		Metadata: app.Metadata, Target: target, Adapter: Name, Objects: []protocol.MonitoringObject{}, Planned: a.env.DryRun,
	}
	clusters, err := conn.Clusters(ctx, a.flags, a.env.Topology, target)
	if err != nil {
		return protocol.MonitoringResult{}, err
	}
	changes := make([][]protocol.MonitoringObject, len(clusters))
	errs := make([]error, len(clusters))
	var all errgroup.Group
	if multi := a.env.Topology.Targets[target].MultiCluster; multi != nil {
		all.SetLimit(multi.AtOnce())
	}
	for i, c := range clusters {
		all.Go(func() error {
			conn, err := a.connect(c, app, target)
			if err == nil {
				changes[i], err = a.watch(ctx, conn, app, target)
			}
			if err == nil && c.Name == "" {
				result.Context, result.Namespace = conn.Context, conn.Namespace
			}
			errs[i] = err
			return nil // the others continue
		})
	}
	_ = all.Wait()
	if err := worst(clusters, errs); err != nil {
		return protocol.MonitoringResult{}, err
	}
	for i, c := range clusters {
		for _, object := range changes[i] {
			object.Cluster = c.Name
			result.Objects = append(result.Objects, object)
		}
	}
	result.Summary, result.Unchanged = summarize(result.Objects, a.env.DryRun)
	return result, nil
}

func (a *adapter) connect(c conn.Cluster, app protocol.AppSpec, target string) (*conn.Conn, error) {
	flags, err := c.Flags()
	if err != nil {
		return nil, err
	}
	topology, err := a.env.Topology.At(app.Name, target)
	if err != nil {
		return nil, err
	}
	return conn.Connect(flags, c.Topology(topology, target), target)
}

func (a *adapter) watch(ctx context.Context, conn *conn.Conn, app protocol.AppSpec, target string) ([]protocol.MonitoringObject, error) {
	client, err := dynamic.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", conn.Context, err)
	}
	n := &namespace{
		Conn: conn, client: client, dryRun: a.env.DryRun,
		place: place{app: app, target: target, namespace: conn.Namespace, labels: a.settings.labels},
		progress: func(message string) {
			a.env.Progress(protocol.Event{Metadata: app.Metadata, Phase: "apply", Message: message})
		},
	}
	changes, err := n.reconcile(ctx)
	return changes, conn.Explain(err)
}

// worst is all errors, with the names of the clusters, the status of the worst and
// the first hint; nil when there is none.
func worst(clusters []conn.Cluster, errs []error) error {
	all := &protocol.Error{}
	var codes []int
	for i, err := range errs {
		codes = append(codes, protocol.ExitCode(err))
		all.Hint = cmp.Or(all.Hint, protocol.HintOf(err))
		if err != nil && clusters[i].Name != "" {
			err = fmt.Errorf("cluster %s: %w", clusters[i].Name, err)
		}
		all.Err = errors.Join(all.Err, err)
	}
	if all.Err == nil {
		return nil
	}
	all.Code = protocol.WorstCode(codes...)
	return all
}

// summarize reports in a line the changes of the objects, and whether there were
// none.
func summarize(objects []protocol.MonitoringObject, dryRun bool) (summary string, unchanged bool) {
	count := map[protocol.Change]int{}
	for _, o := range objects {
		count[o.Change]++
	}
	total := fmt.Sprintf("%d objects", len(objects))
	if len(objects) == 1 {
		total = "1 object"
	}
	switch {
	case len(objects) == 0:
		return "nothing to watch", true
	case count[protocol.ChangeUnchanged] == len(objects):
		return "unchanged: " + total, true
	}
	var parts []string
	for _, change := range []protocol.Change{protocol.ChangeCreated, protocol.ChangeUpdated, protocol.ChangeRemoved} {
		verb := string(change)
		if dryRun {
			verb = strings.TrimSuffix(verb, "d") // would create
		}
		if count[change] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", verb, count[change]))
		}
	}
	summary = strings.Join(parts, ", ") + " of " + total
	if dryRun {
		summary = "would " + summary
	}
	return summary, false
}

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
