package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/internal/deploy/helm"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestMain(m *testing.M) { os.Exit(deploytest.Main(m, helm.New)) }

func TestRemoveByHelm(t *testing.T) {
	deploytest.CheckRemove(t, deploytest.New(t, helm.Name, helm.New))
}

func TestRemoveOfWhatIsHeldByHelm(t *testing.T) {
	deploytest.CheckHeld(t, deploytest.New(t, helm.Name, helm.New))
}

func TestRemoveAfterKillByHelm(t *testing.T) {
	deploytest.CheckKilled(t, deploytest.New(t, helm.Name, helm.New), 200*time.Millisecond, 400*time.Millisecond, 800*time.Millisecond)
}

func TestUninstallOnACluster(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	file := newProject(t, w, "")
	in := []string{"uninstall", "app", "--target", "test", "--file", file, "--topology", "office", "--yes"}
	w.Templates["kept.yaml"] = deploytest.KeptTemplate
	w.Deploy(protocol.OutcomeInstalled)
	out, err := run(t, w, nil, in...)
	if err != nil || !strings.Contains(out, "app on test: removed from "+w.Namespace) || !strings.Contains(out, "configmap/kept\n") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run(t, w, nil, in...); err != nil || !strings.Contains(out, "app on test: not installed in "+w.Namespace) {
		t.Errorf("again: %v\n%s", err, out)
	}
	in = []string{"uninstall", "app", "--target", "test", "--file", file, "--topology", "other", "--yes"}
	if _, err := run(t, w, nil, in...); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("by an adapter that cannot: %v", err)
	}
}

func TestUninstallLeavesWhatHelmMade(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	folder := t.TempDir()
	if err := os.WriteFile(folder+"/Chart.yaml", []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plainHelm(t, w, "install", "app", folder, "--create-namespace")
	_, err := w.Remove(t.Context())
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(protocol.HintOf(err), "helm uninstall app --namespace "+w.Namespace) {
		t.Errorf("%v, hint %q", err, protocol.HintOf(err))
	}
	plainHelm(t, w, "status", "app")
}

// A preview is made on a branch, and removed on no branch once its time has passed.
func TestUninstallOfExpiredPreviews(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	file := newProject(t, w, `    preview: {inCluster: {namespace: "`+w.Namespace+`-{branch}", ttl: 72h}}`+"\n")
	name := w.Namespace + "-cart"
	w.Cluster.DeleteNamespace(t, name)
	in := func(args ...string) []string {
		return append(args, "--target", "preview", "--file", file, "--topology", "office", "--yes")
	}
	app := w.Spec()
	app.Targets["preview"] = app.Targets[deploytest.Target]
	if out, _, err := runOn(t, w, "cart", streamOf(t, w, app), in("adopt")...); err != nil || !strings.Contains(out, "app 1.0.0 on preview: installed in "+name) {
		t.Fatalf("%v\n%s", err, out)
	}
	removes := func(expires, want, warns string) {
		t.Helper()
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, marks.Expires, expires)
		if _, err := w.Cluster.Client.CoreV1().Namespaces().Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		out, errs, err := runOn(t, w, "", nil, in("uninstall", "--expired")...)
		if err != nil || out != want || !strings.Contains(errs, warns) {
			t.Errorf("%v\n%s\n%s", err, out, errs)
		}
	}
	removes("2099-01-01T00:00:00Z", "nothing on preview has expired\n", "")
	removes("soon", "nothing on preview has expired\n", `warning: preview `+name+` never expires: its annotation harmony.nationtech.io/expires is "soon"`)
	removes("2020-01-01T00:00:00Z", "app on preview: removed from "+name+"\n  deleted namespace/"+name+"\n", "")
	if out, err := run(t, w, nil, in("uninstall", "--expired")...); err != nil || out != "nothing on preview has expired\n" {
		t.Errorf("again: %v\n%s", err, out)
	}
}
