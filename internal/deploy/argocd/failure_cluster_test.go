package argocd

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestFailingUpgradeIsRolledBack(t *testing.T) {
	w := newWorld(t)
	good := w.Deploy(protocol.OutcomeInstalled)
	goodImage := w.Image
	w.NextImage("1.1.0")
	w.breakApp()
	result := w.Fails(50*time.Second, protocol.ExitFailed, "CrashLoopBackOff", "exit code 3", "cannot open the book", "rolled back to version 1.0.0")
	if result.Outcome != protocol.OutcomeRolledBack || result.Image != good.Image || result.Chart != good.Chart {
		t.Errorf("result %+v, want rolled-back with %s and %s", result, good.Image, good.Chart)
	}
	if image := w.Deployment().Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(image, good.Image) {
		t.Errorf("the Deployment has %s, want %s", image, good.Image)
	}
	// What was good before is so now, without another sync.
	w.mend()
	w.Image = goodImage
	w.Deploy(protocol.OutcomeUnchanged)
	w.noLease()
}

func TestFailureWithoutRollback(t *testing.T) {
	w := newWorld(t)
	w.Settings["rollback"] = false
	w.Deploy(protocol.OutcomeInstalled)
	w.breakApp()
	result := w.Fails(40*time.Second, protocol.ExitFailed, "deployment/app", "exit code 3")
	if result.Outcome != "" {
		t.Errorf("outcome %s, want none", result.Outcome)
	}
	syncs := w.syncs()
	w.Fails(40*time.Second, protocol.ExitFailed, "deployment/app", "exit code 3")
	if now := w.syncs(); now != syncs {
		t.Errorf("the same again synced again: %d syncs, then %d", syncs, now)
	}
	w.mend()
	w.Deploy(protocol.OutcomeUpgraded)
}

// breakApp makes the app end at once, for which the deploy is not to wait.
func (w *argoWorld) breakApp() {
	w.Settings["failFast"] = true
	w.Values["env"] = []any{
		map[string]any{"name": "SAY", "value": "cannot open the book"}, map[string]any{"name": "EXIT", "value": "3"},
	}
}

func (w *argoWorld) mend() { w.Values["env"] = []any{} }

func TestFailingHook(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	w.hook("{{ .Values.image }}")
	result := w.Fails(50*time.Second, protocol.ExitFailed, "job/migrate", "exit code 3", "no such table")
	if result.Outcome != protocol.OutcomeRolledBack {
		t.Errorf("outcome %q, want rolled-back", result.Outcome)
	}
	delete(w.Templates, "hook.yaml")
	w.Deploy(protocol.OutcomeUnchanged)
}

// Argo CD itself would wait for such a hook without an end.
func TestHookThatCannotStartStopsEarly(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	w.hook(w.Image.FullName() + "@sha256:" + strings.Repeat("0", 64))
	result := w.Fails(50*time.Second, protocol.ExitFailed, "job/migrate", "Pull")
	if result.Outcome != protocol.OutcomeRolledBack {
		t.Errorf("outcome %q, want rolled-back", result.Outcome)
	}
}

func (w *argoWorld) hook(image string) {
	w.Templates["hook.yaml"] = `apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/hook-delete-policy: BeforeHookCreation}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: migrate, image: "` + image + `", env: [{name: EXIT, value: "3"}, {name: SAY, value: no such table}]}
`
}

func TestChartThatIgnoresTheImage(t *testing.T) {
	w := newWorld(t)
	other := w.Image
	w.NextImage("1.2.0")
	w.Replace("{{ .Values.image }}", other.FullName()+"@"+other.Digest)
	w.Fails(40*time.Second, protocol.ExitFailed, "should run", w.Image.Digest)
}

func TestProjectThatForbids(t *testing.T) {
	w := newWorld(t)
	w.project(map[string]any{
		"sourceRepos":  []any{"oci://elsewhere/*"},
		"destinations": []any{map[string]any{"server": "*", "namespace": "*"}},
	})
	w.Fails(20*time.Second, protocol.ExitUnsupported, "not permitted in project")
	if _, err := w.applications.Get(t.Context(), w.Namespace, metav1.GetOptions{}); err == nil {
		t.Error("the Application was left behind")
	}
	w.noNamespace()

	// An Application that is there stays as it is.
	delete(w.Settings, "project")
	w.Deploy(protocol.OutcomeInstalled)
	before := releaseNow(t, w)
	w.Settings["project"] = w.Namespace
	w.NextImage("1.1.0")
	w.Fails(20*time.Second, protocol.ExitUnsupported, "not permitted in project")
	if after := releaseNow(t, w); after.chart() != before.chart() || after.Image != before.Image {
		t.Errorf("the Application wants %s, want %s as before", after.chart(), before.chart())
	}
}

func TestProjectThatForbidsAKind(t *testing.T) {
	w := newWorld(t)
	w.project(map[string]any{
		"sourceRepos":                []any{"*"},
		"destinations":               []any{map[string]any{"server": "*", "namespace": "*"}},
		"clusterResourceWhitelist":   []any{map[string]any{"group": "*", "kind": "Namespace"}},
		"namespaceResourceBlacklist": []any{map[string]any{"group": "", "kind": "Service"}},
	})
	w.Fails(40*time.Second, protocol.ExitFailed, "service/app", "not permitted in project")
}

func TestUnknownProject(t *testing.T) {
	w := newWorld(t)
	w.Settings["project"] = "there-is-no-such"
	w.Fails(5*time.Second, protocol.ExitUnsupported, `no AppProject "there-is-no-such"`)
}

func TestSyncWindow(t *testing.T) {
	w := newWorld(t)
	w.project(map[string]any{
		"sourceRepos":              []any{"*"},
		"destinations":             []any{map[string]any{"server": "*", "namespace": "*"}},
		"clusterResourceWhitelist": []any{map[string]any{"group": "*", "kind": "Namespace"}},
	})
	first := w.Deploy(protocol.OutcomeInstalled)
	w.window(false)
	w.NextImage("1.1.0")
	w.Fails(30*time.Second, protocol.ExitRetryable, "sync window")
	if now := releaseNow(t, w); now.chart() != first.Chart {
		t.Errorf("the Application wants %s, want %s until the window is open", now.chart(), first.Chart)
	}
	if _, pending := w.application().Object["operation"]; pending {
		t.Error("the operation was left behind")
	}
	w.window(true)
	w.Deploy(protocol.OutcomeUpgraded)
}

// project makes an AppProject and has the app use it.
func (w *argoWorld) project(spec map[string]any) {
	w.T.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": "AppProject", "metadata": map[string]any{"name": w.Namespace}, "spec": spec,
	}}
	if _, err := w.projects.Create(w.T.Context(), object, metav1.CreateOptions{}); err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() {
		if err := w.projects.Delete(context.Background(), w.Namespace, metav1.DeleteOptions{}); err != nil {
			w.T.Errorf("delete the AppProject: %v", err)
		}
	})
	w.Settings["project"] = w.Namespace
}

// window gives the project a window that denies syncs now, but perhaps not
// manual ones.
func (w *argoWorld) window(manual bool) {
	w.T.Helper()
	object, err := w.projects.Get(w.T.Context(), w.Namespace, metav1.GetOptions{})
	if err != nil {
		w.T.Fatal(err)
	}
	set(w.T, object, []any{map[string]any{
		"kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": []any{"*"}, "manualSync": manual,
	}}, "spec", "syncWindows")
	if _, err := w.projects.Update(w.T.Context(), object, metav1.UpdateOptions{}); err != nil {
		w.T.Fatal(err)
	}
}
