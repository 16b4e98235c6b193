// Package prometheusoperator lets apps be watched by Prometheus and
// Alertmanager, through the objects of the Prometheus operator: a ServiceMonitor
// for the metrics, a PrometheusRule for the alerts, and an AlertmanagerConfig for
// each route. It writes them by server-side apply, with a label that says whose
// they are, and takes away what the app does not ask for any more.
//
// Nothing is remembered on the machine: each call looks at the objects and does
// what is missing. Objects that somebody else made are left alone.
package prometheusoperator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/conn"
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
			conn, err := a.connect(c, target)
			if err == nil {
				changes[i], err = a.watch(ctx, conn, app, target)
			}
			if err == nil && c.Name == "" {
				result.Context, result.Namespace = conn.Context, conn.Namespace
			}
			errs[i] = ofCluster(c, err)
			return nil // the others go on
		})
	}
	_ = all.Wait()
	if err := worst(errs); err != nil {
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

func (a *adapter) connect(c conn.Cluster, target string) (*conn.Conn, error) {
	flags, err := c.Flags()
	if err != nil {
		return nil, err
	}
	return conn.Connect(flags, c.Topology(a.env.Topology, target), target)
}

// watch lets the app be watched on one cluster.
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

// ofCluster says on which cluster of several something went wrong.
func ofCluster(c conn.Cluster, err error) error {
	if err == nil || c.Name == "" {
		return err
	}
	return fmt.Errorf("cluster %s: %w", c.Name, err)
}

// worst is all errors, with the status of the worst; nil when there is none.
func worst(errs []error) error {
	err := errors.Join(errs...)
	if err == nil {
		return nil
	}
	var codes []int
	hint := ""
	for _, e := range errs {
		codes = append(codes, protocol.ExitCode(e))
		if hint == "" {
			hint = protocol.HintOf(e)
		}
	}
	return &protocol.Error{Code: protocol.WorstCode(codes...), Hint: hint, Err: err}
}

// summarize says in a line what became of the objects, and whether nothing did.
func summarize(objects []protocol.MonitoringObject, dryRun bool) (summary string, unchanged bool) {
	count := map[protocol.Change]int{}
	for _, o := range objects {
		count[o.Change]++
	}
	if count[protocol.ChangeUnchanged] == len(objects) {
		if len(objects) == 0 {
			return "nothing to watch", true
		}
		return "unchanged: " + some(len(objects)), true
	}
	var parts []string
	for _, change := range []struct {
		kind protocol.Change
		verb string
	}{{protocol.ChangeCreated, "create"}, {protocol.ChangeUpdated, "update"}, {protocol.ChangeRemoved, "remove"}} {
		n := count[change.kind]
		switch {
		case n == 0:
		case dryRun:
			parts = append(parts, fmt.Sprintf("%s %d", change.verb, n))
		default:
			parts = append(parts, fmt.Sprintf("%s %d", change.kind, n))
		}
	}
	summary = strings.Join(parts, ", ") + " of " + some(len(objects))
	if dryRun {
		summary = "would " + summary
	}
	return summary, false
}

func some(objects int) string {
	if objects == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", objects)
}
