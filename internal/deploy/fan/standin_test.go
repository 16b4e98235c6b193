package fan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fleet plays clusters that an adapter delivers to: what runs where, and which
// of them fail.
type fleet struct {
	mu sync.Mutex
	// runs are the image digests by cluster, and before those before.
	runs, before map[string]string
	// given are the clusters whose release was given back.
	given map[string]bool
	// bad are the clusters that fail, with the error's status.
	bad map[string]int
	// takes is how long a deploy takes.
	takes time.Duration
	// halt, when set, is called after a cluster was delivered to.
	halt func(done int)

	// bySet leaves targets of several clusters to a controller.
	bySet bool

	// first is the API server of the first cluster, with the record and the lease.
	first *fake.Clientset
	// clock is its time, and follow the flag.
	clock  time.Time
	follow bool
	// fails are the checks that fail, CHECK on CLUSTER; and checked those that ran.
	fails   map[string]bool
	checked []string
	// versions are those that the clusters say that they have.
	versions map[string]string

	order         []string
	now, most     int
	rolledBack    []string
	waves, events []string
}

func newFleet() *fleet {
	return &fleet{
		runs: map[string]string{}, before: map[string]string{}, given: map[string]bool{}, bad: map[string]int{}, fails: map[string]bool{},
		first: fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "fleet"}}), clock: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
	}
}

// adapters is the constructor of the adapter over the fleet.
func (f *fleet) adapters(kubeconfig string) capability.Adapter[capability.ContinuousDelivery] {
	return f.limited(conn.Flags{Kubeconfig: kubeconfig})
}

func (f *fleet) limited(way conn.Flags) capability.Adapter[capability.ContinuousDelivery] {
	at := func(d *fanned, first conn.Cluster, target string) (*home, error) {
		h, err := d.connectHome(first, target)
		if err == nil {
			h.client, h.now = f.first, func(context.Context) (time.Time, error) {
				f.mu.Lock()
				defer f.mu.Unlock()
				return f.clock, nil
			}
		}
		return h, err
	}
	return adapters(&Flags{Flags: way, follow: f.follow}, map[string]delivery.Constructor{"standin": f.new}, f.new, f.checks, at)["standin"]
}

// checks are stand-ins for smoke checks.
func (f *fleet) checks(*conn.Flags) capability.Adapter[capability.Checker] {
	return func(_ context.Context, env capability.Environment) (capability.Checker, error) {
		return checker{f, env}, nil
	}
}

type checker struct {
	fleet *fleet
	env   capability.Environment
}

func (c checker) Check(_ context.Context, app protocol.AppSpec, target string) (protocol.SmokeReport, error) {
	if c.env.DryRun {
		return protocol.SmokeReport{}, nil
	}
	f := c.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, check := range app.Smoke {
		name := strings.TrimSpace(check.Name + " " + c.env.Cluster)
		if f.checked = append(f.checked, name); f.fails[name] {
			return protocol.SmokeReport{}, &protocol.Error{Code: protocol.ExitSmoke, Message: check.Name + " failed on " + target}
		}
	}
	return protocol.SmokeReport{Passed: true}, nil
}

// standIn is the adapter for one of the clusters.
type standIn struct {
	delivery.Unsupported
	fleet *fleet
	flags *conn.Flags
	env   capability.Environment
}

func (f *fleet) new(flags *conn.Flags) capability.Adapter[delivery.Adapter] {
	return func(_ context.Context, env capability.Environment) (delivery.Adapter, error) {
		one := &standIn{"standin", f, flags, env}
		if f.bySet && env.Cluster == "" {
			return controlled{one}, nil
		}
		return one, nil
	}
}

// controlled is the adapter where a controller does the fan-out.
type controlled struct{ *standIn }

var _ whole = controlled{}

func (c controlled) TakesAll(int) bool { return true }

func (c controlled) DeployAll(context.Context, protocol.AppSpec, string, []conn.Cluster, protocol.ImageRef, protocol.ChartRef, func(protocol.DeployResult)) (protocol.DeployResult, error) {
	return protocol.DeployResult{}, nil
}

func (c controlled) RollbackAll(context.Context, protocol.AppSpec, string, string, []conn.Cluster) (protocol.DeployResult, error) {
	return protocol.DeployResult{}, nil
}

func (c controlled) TakeAllBack(context.Context, protocol.AppSpec, string, []conn.Cluster, capability.Setback, func(protocol.DeployResult)) (protocol.DeployResult, error) {
	return protocol.DeployResult{}, nil
}

func (c controlled) RemoveAll(ctx context.Context, _ protocol.AppSpec, _ string, clusters []conn.Cluster,
	each func(context.Context, func(delivery.Adapter) delivery.Adapter) (protocol.DeployResult, error)) (protocol.DeployResult, error) {
	c.fleet.order = append(c.fleet.order, fmt.Sprintf("lets go of %d", len(clusters)))
	return each(ctx, func(a delivery.Adapter) delivery.Adapter { return a })
}

func (s *standIn) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	conn, err := conn.Connect(s.flags, s.env.Topology, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if want := "https://" + conn.Context + ".example.com"; conn.Context != s.env.Cluster || conn.Config.Host != want {
		return protocol.DeployResult{}, fmt.Errorf("cluster %s is reached at %s by context %s", s.env.Cluster, conn.Config.Host, conn.Context)
	}
	s.env.Progress(protocol.Event{Metadata: app.Metadata, Phase: "apply", Message: "under way"})
	f, name := s.fleet, conn.Context
	f.enter(name)
	defer f.leave()
	select {
	case <-ctx.Done():
		return protocol.DeployResult{}, ctx.Err()
	case <-time.After(f.takes):
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	result := protocol.DeployResult{
		Metadata: app.Metadata, Target: target, Adapter: "standin", Context: name, Namespace: conn.Namespace,
		Image: image.Digest, Chart: chart.Digest, Planned: s.env.DryRun,
	}
	was, there := f.runs[name]
	result.PreviousImage, result.PreviousChart = was, "chart-"+was
	switch {
	case f.bad[name] != 0 && there:
		result.Outcome, result.Image = protocol.OutcomeRolledBack, was
		return result, &protocol.Error{Code: f.bad[name], Message: "the pods crash\non every node", Hint: "look at the pods"}
	case f.bad[name] != 0:
		return protocol.DeployResult{}, &protocol.Error{Code: f.bad[name], Message: "the pods crash"}
	case was == image.Digest:
		result.Outcome = protocol.OutcomeUnchanged
	case there:
		result.Outcome = protocol.OutcomeUpgraded
	default:
		result.Outcome = protocol.OutcomeInstalled
	}
	if !s.env.DryRun && result.Outcome != protocol.OutcomeUnchanged {
		f.before[name], f.runs[name] = was, image.Digest
	}
	return result, nil
}

func (s *standIn) Rollback(_ context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error) {
	f := s.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	name := s.env.Cluster
	if f.before[name] == "" {
		return protocol.DeployResult{}, protocol.Unsupported("there is no release before")
	}
	f.runs[name] = f.before[name]
	f.rolledBack = append(f.rolledBack, name)
	return protocol.DeployResult{Metadata: app.Metadata, Target: target, Adapter: "standin", Outcome: protocol.OutcomeRolledBack, Image: f.runs[name]}, nil
}

func (s *standIn) TakeBack(_ context.Context, app protocol.AppSpec, target string, from capability.Setback, _ func(protocol.DeployResult)) (protocol.DeployResult, error) {
	f, name := s.fleet, s.env.Cluster
	f.enter(name)
	defer f.leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	if code := f.bad[name]; code != 0 {
		return protocol.DeployResult{}, &protocol.Error{Code: code, Message: "the pods of the old one crash"}
	}
	f.runs[name] = from.On(name).PreviousImage
	f.rolledBack = append(f.rolledBack, name)
	return protocol.DeployResult{Metadata: app.Metadata, Target: target, Adapter: "standin", Outcome: protocol.OutcomeRolledBack, Image: f.runs[name], RunningVersion: "0.9.0"}, nil
}

func (s *standIn) Remove(_ context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	f, name := s.fleet, s.env.Cluster
	f.enter(name)
	defer f.leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	result := protocol.DeployResult{Metadata: app.Metadata, Target: target, Adapter: "standin", Outcome: protocol.OutcomeAbsent}
	if code := f.bad[name]; code != 0 {
		return protocol.DeployResult{}, &protocol.Error{Code: code, Message: "a finalizer holds it"}
	}
	if f.runs[name] != "" {
		delete(f.runs, name)
		result.Outcome = protocol.OutcomeRemoved
		result.Kept = []protocol.ObjectRef{{Resource: "configmap", Name: "settings", Namespace: "fleet", Context: name}}
	}
	return result, nil
}

func (s *standIn) GiveBack(_ context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	f, name := s.fleet, s.env.Cluster
	f.enter(name)
	defer f.leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	result := protocol.DeployResult{Metadata: app.Metadata, Target: target, Adapter: "standin", Outcome: protocol.OutcomeAbsent, Planned: s.env.DryRun}
	if code := f.bad[name]; code != 0 {
		return protocol.DeployResult{}, &protocol.Error{Code: code, Message: "it is being worked on"}
	}
	if f.runs[name] != "" && !f.given[name] {
		f.given[name] = !s.env.DryRun
		result.Outcome = protocol.OutcomeGivenBack
	}
	return result, nil
}

func (f *fleet) enter(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order = append(f.order, name)
	f.now++
	f.most = max(f.most, f.now)
}

func (f *fleet) leave() {
	f.mu.Lock()
	f.now--
	done, halt := len(f.order), f.halt
	f.mu.Unlock()
	if halt != nil {
		halt(done)
	}
}

func (f *fleet) observe(e protocol.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Phase == "wave" {
		f.waves = append(f.waves, fmt.Sprintf("%s %d/%d", e.Message, e.Current, e.Total))
	} else {
		f.events = append(f.events, e.Message)
	}
}

// kubeconfigOf writes a kubeconfig of so many clusters, c000 and on.
func kubeconfigOf(tb testing.TB, clusters int) (path string, names []string) {
	tb.Helper()
	var text strings.Builder
	text.WriteString("apiVersion: v1\nkind: Config\nusers:\n- {name: me, user: {token: secret}}\nclusters:\n")
	for i := range clusters {
		name := fmt.Sprintf("c%03d", i)
		names = append(names, name)
		fmt.Fprintf(&text, "- {name: %[1]s, cluster: {server: \"https://%[1]s.example.com\"}}\n", name)
	}
	text.WriteString("contexts:\n")
	for _, name := range names {
		fmt.Fprintf(&text, "- {name: %[1]s, context: {cluster: %[1]s, user: me, extensions: [{name: harmony.nationtech.io/labels, extension: {fleet: shops}}]}}\n", name)
	}
	path = filepath.Join(tb.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path, names
}

// told are the results of the clusters, the last one of each.
type told map[string]protocol.DeployResult

func (t told) of(outcome protocol.Outcome) string {
	var names []string
	for name, result := range t {
		if result.Outcome == outcome {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// deploy delivers the digest to the fleet.
func (f *fleet) deploy(ctx context.Context, tb testing.TB, kubeconfig string, multi protocol.MultiCluster, digest string, change func(*capability.Environment)) (protocol.DeployResult, told, error) {
	tb.Helper()
	f.order, f.most, f.rolledBack, f.waves, f.events = nil, 0, nil, nil, nil
	multi.Namespace = "fleet"
	env := capability.Environment{
		Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}, Targets: map[string]protocol.Target{"production": {MultiCluster: &multi}}},
		Provider: protocol.Provider{Adapter: "standin"}, Progress: f.observe,
	}
	if change != nil {
		change(&env)
	}
	open := f.adapters(kubeconfig)
	d, err := open(ctx, env)
	if err != nil {
		tb.Fatal(err)
	}
	results := told{}
	result, err := d.(capability.ClusterDelivery).DeployEach(ctx, released, "production", protocol.ImageRef{Digest: digest}, protocol.ChartRef{Digest: "chart-" + digest},
		func(r protocol.DeployResult) { results[r.Cluster] = r })
	return result, results, err
}

// named is an adapter that delivers at once, and can do nothing else.
type named struct{ delivery.Unsupported }

func (n *named) constructor(*conn.Flags) capability.Adapter[delivery.Adapter] {
	return func(context.Context, capability.Environment) (delivery.Adapter, error) { return n, nil }
}

func (n *named) Deploy(context.Context, protocol.AppSpec, string, protocol.ImageRef, protocol.ChartRef) (protocol.DeployResult, error) {
	return protocol.DeployResult{Adapter: string(n.Unsupported)}, nil
}
