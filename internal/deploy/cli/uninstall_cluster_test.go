package cli

import (
	"os"
	"strings"
	"testing"
	"time"

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
	file := newProject(t, w)
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
