package smoke

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// release makes the record of a Helm release whose chart has the hooks.
func (w world) release(t *testing.T, name string, hooks ...hook) {
	t.Helper()
	text, err := json.Marshal(object{"name": name, "version": 1, "info": object{"status": "deployed"}, "hooks": hooks})
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	w.send(t, "POST", "/api/v1/namespaces/"+w.Namespace+"/secrets", object{
		"metadata": object{"name": "sh.helm.release.v1." + name + ".v1", "labels": object{"owner": "helm", "name": name, "status": "deployed", "version": "1"}},
		"type":     "helm.sh/release.v1", "stringData": object{"release": base64.StdEncoding.EncodeToString(packed.Bytes())},
	})
}

// testPod is a test of a chart that runs the program of testdata/server.
func (w world) testPod(name string, weight int, policies []string, args string) hook {
	return hook{
		Name: name, Kind: "Pod", Path: "fleet/templates/" + name + ".yaml", Events: []string{"test"}, Weight: weight, Policies: policies,
		Manifest: "# a test\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 0\n" +
			"  containers: [{name: test, image: '" + w.image + "', args: [" + args + "], envFrom: [{configMapRef: {name: words}}]}]\n",
	}
}

func TestClusterHelmTest(t *testing.T) {
	w := newWorld(t)
	words := hook{
		Name: "words", Kind: "ConfigMap", Path: "words.yaml", Events: []string{"test"}, Weight: -5, Policies: []string{beforeCreation, onSuccess},
		Manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words}\ndata: {SAY: from the chart}\n",
	}
	other := hook{Name: "later", Kind: "Job", Path: "later.yaml", Events: []string{"post-install"}, Manifest: "not for us"}
	finish := hook{
		Name: "finish", Kind: "Job", Path: "finish.yaml", Events: []string{"test-success"}, Weight: 5, Policies: []string{beforeCreation, onFailure},
		Manifest: "apiVersion: batch/v1\nkind: Job\nmetadata: {name: finish}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n" +
			"      containers: [{name: test, image: '" + w.image + "', args: [end, '3', the book is lost]}]\n",
	}
	w.release(t, "fleet", finish, other, w.testPod("first", 1, nil, "end, '0'"), words, w.testPod("second", 2, []string{beforeCreation, onSuccess}, "end, '0'"), w.testPod("sleeps", 3, nil, "sleep"))
	tests := func(timeout time.Duration, names ...string) (protocol.SmokeReport, error) {
		t.Helper()
		return w.check(t, protocol.SmokeCheck{Name: "chart", HelmTest: &protocol.HelmTestCheck{Names: names}, Timeout: protocol.Duration(timeout), Interval: protocol.Duration(time.Hour)})
	}
	for range 2 { // the second run replaces what the first one left
		if report, err := tests(time.Minute, "first", "second"); err != nil || report.Checks[0].Message != "passed: first, second" {
			t.Fatalf("%+v, %v", report, err)
		}
	}
	if pods := w.pods(t); len(pods) != 1 || pods[0] != "first" {
		t.Errorf("there are the pods %q, want the one without a policy", pods)
	}
	report, err := tests(time.Minute, "finish")
	if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "test finish failed: exit code 3: the book is lost") || !strings.HasPrefix(protocol.HintOf(err), "helm test fleet --logs --namespace") {
		t.Errorf("%+v, %v, hint %q", report, err, protocol.HintOf(err))
	}
	w.await(t, 0)
	report, err = tests(12*time.Second, "sleeps")
	if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "test sleeps: not ended in time: sleeping") {
		t.Errorf("%+v, %v", report, err)
	}
	report, err = tests(time.Minute, "third")
	if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "the chart of release fleet has no test third") || report.Checks[0].Attempts != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// pods are the names of the pods that are not being deleted.
func (w world) pods(t *testing.T) (names []string) {
	t.Helper()
	var list corev1.PodList
	if err := w.get(t.Context(), "api/v1", "pods", nil, &list); err != nil {
		t.Fatal(err)
	}
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			names = append(names, pod.Name)
		}
	}
	return names
}
