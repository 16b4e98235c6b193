package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// broken is a check of each kind that fails, after a space of its kind.
var broken = map[string]string{
	"rollout":    `rollout: {workload: deployment/none}`,
	"http":       `http: {service: fleet-callout, port: 8080, path: /none}`,
	"tcp":        `tcp: {service: fleet-callout, port: 9}`,
	"grpc":       `grpc: {service: fleet-callout, port: 8080}`,
	"job":        `job: {env: {TOKENS_FILE: /none}}`,
	"helmTest":   `helmTest: {}`, // the one of failingHook
	"exec":       `exec: {command: ["false"]}`,
	"prometheus": `prometheus: {url: "PROMETHEUS", query: errors, max: 0.5}`,
	"logs":       `logs: {forbid: ["."], since: 1h}, for: 1s`,
	"resource":   `resource: {apiVersion: apps/v1, kind: Deployment, name: fleet-callout, condition: Available=False}`,
	"tide":       `tide: {at: low}`, // harmony-check-tide on PATH
}

// failingHook is a test of the chart.
const failingHook = `apiVersion: v1
kind: Pod
metadata:
  name: {{ .Chart.Name }}-test
  annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: "before-hook-creation,hook-failed"}
spec:
  restartPolicy: Never
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: test
      image: {{ .Values.image }}
      env: [{name: TOKENS_FILE, value: /none}]
      resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: "1", memory: 64Mi}}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

// TestEachKindOfCheckStopsBeforeProduction releases to staging with a failing check of each
// kind in turn.
func TestEachKindOfCheckStopsBeforeProduction(t *testing.T) {
	p := newProject(t, "fleet")
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"9"]}]}}`)
	}))
	defer prometheus.Close()
	if err := os.WriteFile(filepath.Join(p.dir, "charts", "callout", "templates", "test.yaml"), []byte(failingHook), 0o644); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "harmony-check-tide"), []byte("#!/bin/sh\necho the tide is high >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, variable := range p.env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			p.env[i] = "PATH=" + bin + ":" + path
		}
	}
	data, err := os.ReadFile(filepath.Join(p.dir, "harmony.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(data), "  smoke:\n")
	_, rest, _ = strings.Cut(rest, "---\n")
	for kind, check := range broken {
		t.Run(kind, func(t *testing.T) {
			check = strings.ReplaceAll(check, "PROMETHEUS", prometheus.URL)
			text := before + "  smoke: [{name: no-" + strings.ToLower(kind) + ", timeout: 3s, " + check + "}]\n---\n" + rest
			if err := os.WriteFile(filepath.Join(p.dir, "harmony.yaml"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			out := p.run("harmony", "release", "fleet-callout", "--version", "1.0.0", "-o", "json")
			reports := only(documents(t, out.stdout), "SmokeReport")
			if out.code != 5 || len(reports) != 1 || reports[0].Spec.Passed || !strings.Contains(out.stderr, "no-"+strings.ToLower(kind)) {
				t.Errorf("exit status %d, reports %+v\n%s", out.code, reports, out.stderr)
			}
			if _, err := p.cluster.Client.CoreV1().Namespaces().Get(t.Context(), p.name+"-production", metav1.GetOptions{}); err == nil {
				t.Error("production was touched")
			}
			jobs, err := p.cluster.Client.BatchV1().Jobs(p.name+"-staging").List(t.Context(), metav1.ListOptions{})
			if err != nil || len(jobs.Items) > 0 {
				t.Errorf("%d Jobs are left, %v", len(jobs.Items), err)
			}
		})
	}
}
