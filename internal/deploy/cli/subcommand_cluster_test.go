package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/argocd"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/internal/deploy/edge"
	"github.com/nationtech/harmony/internal/deploy/fan"
	"github.com/nationtech/harmony/internal/deploy/flux"
	"github.com/nationtech/harmony/internal/deploy/helm"
	"github.com/nationtech/harmony/internal/deploy/status"
	source "github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// newProject writes a project of the world's app, with one topology whose adapter
// can only deploy. more are further targets.
func newProject(t *testing.T, w *deploytest.World, more string) string {
	t.Helper()
	root := t.TempDir()
	file := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	registry := clustertest.Registry(t) + "/harmony-test"
	text := `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: app}
spec:
  image: {repository: app, dockerfile: {}}
  chart: {path: chart, image: {value: image}}
  targets: {test: {values: {replicas: 1, env: []}}}
`
	for name, adapter := range map[string]string{"office": "helm", "other": "plain"} {
		text += fmt.Sprintf(`---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: %s}
spec:
  containerBuilder: {adapter: docker}
  ociRegistry: {adapter: oci, url: %s, insecure: true}
  helmRegistry: {adapter: oci, url: %s, insecure: true}
  continuousDelivery: {adapter: %s}
  targets:
    test: {inCluster: {namespace: %s}}
    empty: {inCluster: {namespace: %s-empty}}
%s`, name, registry, registry+"/charts/"+w.Namespace, adapter, w.Namespace, w.Namespace, more)
	}
	file("harmony.yaml", text)
	file("chart/Chart.yaml", "apiVersion: v2\nname: app\nversion: 0.0.0\n")
	return filepath.Join(root, "harmony.yaml")
}

// plain is an adapter that can only deploy.
type plain struct {
	capability.ContinuousDelivery
}

// only takes away what an adapter can do besides deploying.
func only(open capability.Adapter[delivery.Adapter]) capability.Adapter[capability.ContinuousDelivery] {
	return func(ctx context.Context, env capability.Environment) (capability.ContinuousDelivery, error) {
		d, err := open(ctx, env)
		return plain{d}, err
	}
}

// run runs one of the commands.
func run(t *testing.T, w *deploytest.World, in io.Reader, args ...string) (string, error) {
	t.Helper()
	out, _, err := runOn(t, w, "", in, args...)
	return out, err
}

// runOn runs one of the commands on a branch. stderr is what it says beside its output.
func runOn(t *testing.T, w *deploytest.World, branch string, in io.Reader, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	environment := map[string]string{source.EnvBranch: branch}
	flags := &fan.Flags{Flags: conn.Flags{Kubeconfig: w.Cluster.Kubeconfig}}
	adapters := fan.Adapters(flags, map[string]delivery.Constructor{"helm": helm.New, "flux": flux.New, "argocd": argocd.New}, edge.New, nil)
	adapters["plain"] = only(helm.New(&flags.Flags))
	tools := Tools{
		Adapters: adapters,
		Bind:     func(set *pflag.FlagSet) { flags.Flags.Bind(set) },
		Streams:  command.Streams{In: in, Out: &out, Err: &errs, Getenv: func(name string) string { return environment[name] }},
	}
	root := &cobra.Command{Use: "test", SilenceErrors: true, SilenceUsage: true}
	for _, option := range tools.Options() {
		option(root)
	}
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	t.Logf("%s: %v\n%s", strings.Join(args[:1], " "), err, out.String())
	return out.String(), errs.String(), err
}

// streamOf are the documents of a release of the app.
func streamOf(t *testing.T, w *deploytest.World, app protocol.AppSpec) io.Reader {
	t.Helper()
	var stream bytes.Buffer
	writer := protocol.NewWriter(&stream)
	image, chart := w.Image, w.Chart()
	image.Metadata, chart.Metadata = app.Metadata, app.Metadata
	for _, d := range []protocol.Spec{app, image, chart} {
		if err := writer.WriteSpec(d); err != nil {
			t.Fatal(err)
		}
	}
	return &stream
}

func TestDiffStatusAndRollback(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	file := newProject(t, w, "")
	in := func(args ...string) []string { return append(args, "--file", file, "--topology", "office") }

	// Nothing is published, then it is.
	_, err := run(t, w, nil, in("diff", "app", "--target", "test", "--version", "1.0.0")...)
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "not published") {
		t.Errorf("diff of what is not published: %v", err)
	}
	chart := w.Chart()
	out, err := run(t, w, nil, in("diff", "app", "--target", "test", "--version", "1.0.0")...)
	if err != nil || !strings.Contains(out, "+++ Deployment "+w.Namespace+"/app (deploy)") {
		t.Errorf("diff before the first deploy: %v\n%s", err, out)
	}
	if _, err := run(t, w, nil, in("diff", "app", "--target", "test", "--version", "1.0.0", "--exit-code")...); protocol.ExitCode(err) != protocol.ExitFailed {
		t.Errorf("diff --exit-code ends with %d, want 1", protocol.ExitCode(err))
	}
	w.Deploy(protocol.OutcomeInstalled)
	if out, err := run(t, w, nil, in("diff", "app", "--target", "test", "--version", "1.0.0", "--exit-code")...); err != nil || out != "" {
		t.Errorf("diff right after a deploy: %v\n%s", err, out)
	}

	// The documents of a pipe win over what is published.
	app := w.Spec()
	app.Targets["test"] = protocol.TargetValues{Values: map[string]any{"replicas": 4, "env": []any{}}}
	if out, err := run(t, w, streamOf(t, w, app), in("diff", "--target", "test")...); err != nil || !strings.Contains(out, "+  replicas: 4") {
		t.Errorf("diff of documents: %v\n%s", err, out)
	}

	out, err = run(t, w, nil, in("status", "-o", "json")...)
	var entries []status.Entry
	if err != nil || json.Unmarshal([]byte(out), &entries) != nil || len(entries) != 2 {
		t.Fatalf("status: %v\n%s", err, out)
	}
	if e := entries[0]; e.Target != "empty" || e.State != status.Absent {
		t.Errorf("the empty target: %+v", e)
	}
	if e := entries[1]; e.Target != "test" || !e.Healthy || e.Image != w.Image.Digest || e.Chart != chart.Digest || e.Adapter != "helm" {
		t.Errorf("the target: %+v", e)
	}
	if out, err := run(t, w, nil, in("status", "app", "--target", "test")...); err != nil || !strings.Contains(out, "deployed  yes") || strings.Contains(out, "empty") {
		t.Errorf("status as a table: %v\n%s", err, out)
	}

	first := w.Image.Digest
	w.NextImage("1.1.0")
	w.Deploy(protocol.OutcomeUpgraded)
	out, err = run(t, w, nil, in("rollback", "app", "--target", "test", "-o", "json")...)
	if err != nil || !strings.Contains(out, `"outcome":"rolled-back"`) || !strings.Contains(out, first) {
		t.Errorf("rollback: %v\n%s", err, out)
	}
	if got := w.Deployment().Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(got, first) {
		t.Errorf("image %s, want %s", got, first)
	}
}

func TestAdapterThatCannot(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	file := newProject(t, w, "")
	w.Chart()
	for _, args := range [][]string{{"rollback", "app"}, {"diff", "app", "--version", "1.0.0"}} {
		_, err := run(t, w, nil, append(args, "--target", "test", "--file", file, "--topology", "other")...)
		if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), `"plain"`) {
			t.Errorf("%s: error %v, want one of status 3 that names the adapter", args[0], err)
		}
	}
}
