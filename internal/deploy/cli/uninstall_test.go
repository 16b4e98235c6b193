package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

const fleetProject = `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: store}
spec: {image: {dockerfile: {}}, chart: {path: chart, image: {value: image}}}
---
apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: front}
spec: {image: {dockerfile: {}}, chart: {path: chart, image: {value: image}}, dependsOn: [store]}
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: office}
spec:
  continuousDelivery: {adapter: standin}
  targets:
    staging: {inCluster: {context: office, namespace: fleet}}
    other: {inCluster: {namespace: fleet}}
    preview: {inCluster: {namespace: "{app}-{branch}", ttl: 72h}}
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: acme}
spec:
  continuousDelivery: {adapter: standin, plugin: harmony-deploy-acme}
  targets:
    staging: {inCluster: {namespace: fleet}}
`

// remover is an adapter that removes apps, and keeps something of each.
type remover struct {
	capability.ContinuousDelivery
	delivery.Unsupported
	dryRun bool
	order  *[]string
	fails  map[string]error
}

func (r remover) Remove(_ context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	*r.order = append(*r.order, app.Name)
	result := protocol.DeployResult{
		Metadata: app.Metadata, Target: target, Adapter: "standin", Namespace: "fleet", Outcome: protocol.OutcomeRemoved, Planned: r.dryRun,
		Removed: []protocol.ObjectRef{{Resource: "deployment.apps", Name: app.Name, Namespace: "fleet"}},
		Kept: []protocol.ObjectRef{
			{Resource: "persistentvolumeclaim", Name: "data-" + app.Name + "-0", Namespace: "fleet", Context: "office"},
			{Resource: "configmap", Name: app.Name, Namespace: "fleet", Context: "office"},
		},
	}
	return result, r.fails[app.Name]
}

// RemoveExpired finds an expired preview of every app, and fails for a target that has
// an entry in fails.
func (r remover) RemoveExpired(ctx context.Context, apps []protocol.AppSpec, target string, each func(protocol.DeployResult) error, _ func(string)) error {
	for _, app := range apps {
		result, _ := r.Remove(ctx, app, target)
		result.Kept = nil
		result.Removed = append(result.Removed, protocol.ObjectRef{Resource: "namespace", Name: app.Name + "-cart"})
		if err := each(result); err != nil {
			return err
		}
	}
	return r.fails[target]
}

// runUninstall runs the command on the project above.
func runUninstall(t *testing.T, fails map[string]error, args ...string) (out string, order []string, err error) {
	t.Helper()
	return runTool(t, fails, "uninstall", args...)
}

// runTool runs any of the commands.
func runTool(t *testing.T, fails map[string]error, name string, args ...string) (out string, order []string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "harmony.yaml")
	if err := os.WriteFile(file, []byte(fleetProject), 0o600); err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	answer := ""
	if name == "uninstall" {
		answer = "yes\n"
	}
	tools := Tools{
		Adapters: map[string]capability.Adapter[capability.ContinuousDelivery]{
			"standin": func(_ context.Context, env capability.Environment) (capability.ContinuousDelivery, error) {
				return remover{Unsupported: "standin", dryRun: env.DryRun, order: &order, fails: fails}, nil
			},
		},
		Bind:    func(*pflag.FlagSet) {},
		Streams: command.Streams{In: strings.NewReader(answer), Out: &printed, Err: io.Discard, Getenv: func(string) string { return "" }},
	}
	root := &cobra.Command{Use: "test", SilenceErrors: true, SilenceUsage: true}
	for _, option := range tools.Options() {
		option(root)
	}
	root.SetArgs(append([]string{name, "--file", file}, args...))
	err = root.ExecuteContext(t.Context())
	return printed.String(), order, err
}

func TestUninstallTakesDependentsFirst(t *testing.T) {
	out, order, err := runUninstall(t, nil, "--all", "--topology", "office", "--target", "staging", "--yes")
	if err != nil || !slices.Equal(order, []string{"front", "store"}) {
		t.Fatalf("removed %v, %v", order, err)
	}
	want := `front on staging: removed from fleet
  keeps persistentvolumeclaim/data-front-0
  keeps configmap/front
  delete with: kubectl delete --context office --namespace fleet persistentvolumeclaim/data-front-0 configmap/front
store on staging`
	if !strings.HasPrefix(out, want) {
		t.Errorf("output:\n%s", out)
	}
}

func TestUninstallDryRun(t *testing.T) {
	out, _, err := runUninstall(t, nil, "store", "--topology", "office", "--target", "staging", "--dry-run")
	want := `store on staging: would remove from fleet
  would delete deployment.apps/store
  would keep persistentvolumeclaim/data-store-0
  would keep configmap/store
`
	if err != nil || out != want {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestUninstallLeavesWhatIsNeeded(t *testing.T) {
	fails := map[string]error{"front": protocol.Retryable("the server is away")}
	out, order, err := runUninstall(t, fails, "--all", "--topology", "office", "--target", "staging", "--yes", "-o", "json")
	if out != "" || !slices.Equal(order, []string{"front"}) || protocol.ExitCode(err) != protocol.ExitFailed {
		t.Errorf("removed %v, %v\n%s", order, err, out)
	}
	for _, words := range []string{"the server is away", "store is not uninstalled: front depends on it"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v does not say %q", err, words)
		}
	}
}

// Neither a branch nor the names of apps matter.
func TestUninstallExpired(t *testing.T) {
	in := []string{"--expired", "--topology", "office", "--target", "preview"}
	out, order, err := runUninstall(t, nil, append(in, "--yes")...)
	want := `front on preview: removed from fleet
  deleted namespace/front-cart
store on preview: removed from fleet
  deleted namespace/store-cart
`
	if err != nil || out != want || !slices.Equal(order, []string{"front", "store"}) {
		t.Errorf("removed %v, %v\n%s", order, err, out)
	}
	if out, _, err := runUninstall(t, nil, append(in, "--dry-run")...); err != nil || !strings.Contains(out, "  would delete namespace/store-cart\n") {
		t.Errorf("%v\n%s", err, out)
	}
	failure := protocol.Retryable("the server is away")
	if out, _, err := runUninstall(t, map[string]error{"preview": failure}, append(in, "--yes")...); !errors.Is(err, failure) || out != want {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestUninstallRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nothing named":    {[]string{"--topology", "office", "--target", "staging", "--yes"}, protocol.ExitInvalid, "or say --all"},
		"both":             {[]string{"store", "--all", "--topology", "office", "--target", "staging", "--yes"}, protocol.ExitInvalid, "or say --all"},
		"names of expired": {[]string{"store", "--expired", "--topology", "office", "--target", "preview", "--yes"}, protocol.ExitInvalid, "it takes neither names nor --all"},
		"all expired":      {[]string{"--all", "--expired", "--topology", "office", "--target", "preview", "--yes"}, protocol.ExitInvalid, "it takes neither names nor --all"},
		"expired, unasked": {[]string{"--expired", "--topology", "office", "--target", "preview"}, protocol.ExitInvalid, "asks before it removes all expired previews"},
		"without a branch": {[]string{"store", "--topology", "office", "--target", "preview", "--yes"}, protocol.ExitInvalid, "needs a branch"},
		"no target":        {[]string{"store", "--topology", "office", "--yes"}, protocol.ExitInvalid, "no target given"},
		"an unknown app":   {[]string{"shop", "--topology", "office", "--target", "staging", "--yes"}, protocol.ExitInvalid, "shop"},
		"an odd format":    {[]string{"store", "-o", "yaml"}, protocol.ExitInvalid, "yaml"},
		"no terminal":      {[]string{"store", "--topology", "office", "--target", "staging"}, protocol.ExitInvalid, "there is no terminal"},
		"another's plugin": {[]string{"store", "--topology", "acme", "--yes"}, protocol.ExitUnsupported, "harmony-deploy-acme"},
	} {
		t.Run(name, func(t *testing.T) {
			_, order, err := runUninstall(t, nil, test.args...)
			if protocol.ExitCode(err) != test.code || err == nil || !strings.Contains(err.Error(), test.says) || len(order) > 0 {
				t.Errorf("status %d, removed %v: %v", protocol.ExitCode(err), order, err)
			}
		})
	}
}

// What a third party's plugin delivers is not rolled back, compared or removed with an
// adapter of ours that happens to have the name of its adapter.
func TestAnotherPluginIsLeftAlone(t *testing.T) {
	for _, name := range []string{"rollback", "diff", "uninstall"} {
		_, _, err := runTool(t, nil, name, "store", "--topology", "acme", "--target", "staging")
		want := "harmony-deploy-acme " + name
		if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(protocol.HintOf(err), want) {
			t.Errorf("%s: status %d, %v; the hint %q has no %q", name, protocol.ExitCode(err), err, protocol.HintOf(err), want)
		}
	}
}

func TestAsk(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "yes": true, "n\n": false, "\n": false, "": false, "yesterday\n": false} {
		var out bytes.Buffer
		if err := ask(strings.NewReader(answer), &out, "Sure? "); (err == nil) != want || out.String() != "Sure? " {
			t.Errorf("answer %q: %v", answer, err)
		}
	}
	broken := errors.New("broken")
	if err := ask(brokenReader{broken}, io.Discard, ""); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// Devices that an app is not gone from are named, and no command that would go elsewhere.
func TestPrintDevices(t *testing.T) {
	var out bytes.Buffer
	tools := Tools{Streams: command.Streams{Out: &out}}
	result := protocol.DeployResult{
		Metadata: protocol.Metadata{Name: "store"}, Outcome: protocol.OutcomePublished,
		Published: &protocol.PublishedState{URL: "oci://r/store:latest", Tombstone: true, Ready: 1, Total: 3, Devices: []protocol.DeviceReport{
			{Device: "shop-3", State: protocol.DeviceFailed, Message: "no\x1b space"}, {Device: "shop-2", State: protocol.DeviceSilent}, {Device: "shop-1", State: protocol.DeviceGone},
		}},
		Kept: []protocol.ObjectRef{{Resource: "namespace", Name: "fleet"}},
	}
	if err := tools.printRemoved("text", "shops", result); err != nil {
		t.Fatal(err)
	}
	want := `store on shops: published a tombstone: r/store:latest; the app is gone from 1 of 3 devices
  keeps namespace/fleet
  device shop-3: failed, no space
  device shop-2: silent
`
	if out.String() != want {
		t.Errorf("output:\n%s", out.String())
	}
}
