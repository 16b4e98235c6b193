package rollout

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// load reads the objects of a case as the API server's client gives them; the
// first is the workload.
func load(t *testing.T, name string) Snapshot {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	var raw []*unstructured.Unstructured
	var typed []any
	for {
		var content map[string]any
		err := decoder.Decode(&content)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: content}
		object := map[string]any{
			"Deployment": &appsv1.Deployment{}, "StatefulSet": &appsv1.StatefulSet{}, "DaemonSet": &appsv1.DaemonSet{},
			"ReplicaSet": &appsv1.ReplicaSet{}, "ControllerRevision": &appsv1.ControllerRevision{},
			"Job": &batchv1.Job{}, "Pod": &corev1.Pod{},
		}[u.GetKind()]
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, object); err != nil {
			t.Fatalf("%s %s: %v", u.GetKind(), u.GetName(), err)
		}
		raw, typed = append(raw, u), append(typed, object)
	}
	workloads, err := Workloads(raw[:1], "ns")
	if err != nil || len(workloads) != 1 {
		t.Fatalf("workloads %v, error %v", workloads, err)
	}
	s, err := assemble(workloads[0], typed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatusOf(t *testing.T) {
	for _, c := range []struct {
		name    string
		ready   bool
		pods    int64
		total   int64
		problem string // what the first suspect says
		grace   time.Duration
		heals   bool
		ends    bool // with FailFast
		message string
	}{
		{name: "ready", ready: true, pods: 1, total: 1},
		{name: "not-observed", pods: 1, total: 1},
		{name: "old-pod", pods: 1, total: 1},
		{name: "old-pods-ending", ready: true, pods: 1, total: 1},
		{name: "old-pod-crashes", total: 1},
		{name: "pull-not-found", total: 1, problem: "deployment/web cannot become ready: pod web-1-a, container app, ErrImagePull: failed to resolve"},
		{name: "pull-network", total: 1, problem: "ImagePullBackOff: dial tcp", grace: pullGrace, heals: true, ends: true, message: "ImagePullBackOff: dial tcp"},
		{name: "crash-once", total: 1, problem: "CrashLoopBackOff, exit code 1, 1 restart", heals: true},
		{name: "crash-loop", total: 1, problem: "pod web-1-a, container app, CrashLoopBackOff, exit code 137, 2 restarts: OOMKilled", heals: true, ends: true,
			message: "pod web-1-a, container app, CrashLoopBackOff, exit code 137, 2 restarts: OOMKilled"},
		{name: "config-error", total: 1, problem: `CreateContainerConfigError: secret "x" not found`, grace: configGrace, heals: true, ends: true},
		{name: "quota", total: 1, problem: "deployment/web cannot become ready: FailedCreate: exceeded quota", grace: createGrace, heals: true, ends: true},
		{name: "paused", pods: 1, total: 1, problem: "it is paused: kubectl rollout resume deployment/web -n ns", grace: pausedGrace},
		{name: "paused-ready", ready: true, pods: 1, total: 1},
		{name: "progress-deadline", total: 1, problem: "pod web-1-a, container app, failed: Progress deadline exceeded", grace: failedGrace},
		{name: "unschedulable", total: 1, message: "pod web-1-a has no node: 0/1 nodes are available"},
		{name: "scaled-to-none", ready: true},
		{name: "job-running", pods: 1, total: 1},
		{name: "job-complete", ready: true, pods: 1, total: 1},
		{name: "job-suspended", ready: true, total: 1},
		{name: "job-failed", total: 1, problem: "job/migrate cannot become ready: pod migrate-a, container app, BackoffLimitExceeded, exit code 4: Job has reached"},
		{name: "job-restarts", total: 1, problem: "CrashLoopBackOff", heals: true},
		{name: "statefulset-half", pods: 1, total: 2},
		{name: "statefulset-ready", ready: true, pods: 2, total: 2},
		{name: "daemonset-ready", ready: true, pods: 1, total: 1},
		{name: "daemonset-old", total: 1},
		{name: "pod-failed", total: 1, problem: "pod/once cannot become ready: pod once, container app, failed, exit code 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, err := StatusOf(load(t, c.name))
			if err != nil {
				t.Fatal(err)
			}
			if status.Ready != c.ready || status.ReadyPods != c.pods || status.Pods != c.total {
				t.Errorf("ready %t with %d/%d pods (%s), want %t with %d/%d", status.Ready, status.ReadyPods, status.Pods, status.Message, c.ready, c.pods, c.total)
			}
			if !strings.Contains(status.Message, c.message) {
				t.Errorf("message %q, want %q", status.Message, c.message)
			}
			if (len(status.Suspects) > 0) != (c.problem != "") {
				t.Fatalf("suspects %v, want %q", status.Suspects, c.problem)
			}
			if c.problem == "" {
				return
			}
			p := status.Suspects[0]
			if p.Heals != c.heals || p.ends(true) != (c.ends || !c.heals) || p.ends(false) == c.heals {
				t.Errorf("problem %q heals: %t, ends a rollout: %t, with FailFast: %t", p, p.Heals, p.ends(false), p.ends(true))
			}
			if !strings.Contains(p.String(), c.problem) || p.Grace != c.grace {
				t.Errorf("problem %q with grace %s, want %q with %s", p, p.Grace, c.problem, c.grace)
			}
		})
	}
}

// Words of the image's name say nothing about the registry.
func TestNamesOfImagesAreNoReasons(t *testing.T) {
	s := load(t, "pull-not-found")
	c := &s.Current[0].Status.ContainerStatuses[0]
	for name, message := range map[string]string{
		"r.example.com:5000/timeout:1": "r.example.com:5000/timeout:1: not found", "r/unauthorized@sha256:1": "r/unauthorized: connection lost", "denied": "denied is away",
	} {
		c.Image, c.State.Waiting.Message = name, message
		if p := suspects(s)[0]; p.Heals == strings.Contains(message, "not found") {
			t.Errorf("%s: %q heals: %t", name, message, p.Heals)
		}
	}
}

func TestStuck(t *testing.T) {
	for name, want := range map[string][]string{
		"pull-not-found": {"web-1-a"}, "crash-loop": {"web-1-a"}, "ready": nil, "quota": nil, "job-restarts": nil, "job-failed": nil, "old-pod-crashes": nil,
	} {
		var got []string
		for _, pod := range load(t, name).Stuck() {
			got = append(got, pod.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: stuck %v, want %v", name, got, want)
		}
	}
}

func TestAbsentWorkload(t *testing.T) {
	status, err := StatusOf(Snapshot{Workload: Workload{Kind: "Job", Name: "gone"}})
	if err != nil || status.Ready || len(status.Suspects) > 0 {
		t.Errorf("status %+v, error %v, want not ready and no problem", status, err)
	}
}

func TestIgnoredObjectIsAbsent(t *testing.T) {
	s := load(t, "job-failed")
	w := s.Workload
	w.Ignore = "j1"
	again, err := assemble(w, []any{&batchv1.Job{ObjectMeta: jobMeta("j1")}})
	if err != nil || again.Object != nil {
		t.Errorf("the ignored job is seen (error %v)", err)
	}
	again, err = assemble(w, []any{&batchv1.Job{ObjectMeta: jobMeta("j2")}})
	if err != nil || again.Object == nil {
		t.Errorf("the job of another UID is not seen (error %v)", err)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                        "plain",
		"a\x1b[31mb\x07\r\nc":          "a[31mb c",
		"\u202etxt\u0085":              "txt",
		strings.Repeat("x", maxLine+1): strings.Repeat("x", maxLine) + "…",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestUnknownKindsAreNoWorkloads(t *testing.T) {
	objects := []*unstructured.Unstructured{
		{Object: map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "web"}}},
		{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web"}}},
		{Object: map[string]any{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": map[string]any{"name": "web"}}},
	}
	found, err := Workloads(objects, "ns")
	if err != nil || len(found) > 0 {
		t.Errorf("workloads %v, error %v, want none", found, err)
	}
}

func jobMeta(uid types.UID) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: "migrate", Namespace: "ns", UID: uid}
}
