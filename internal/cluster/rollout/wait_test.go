package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// server is an API server with the objects of a case, which tells watchers when
// they change.
type server struct {
	mu      sync.Mutex
	objects map[string][]any // by resource
	former  map[string][]any
	version int
	changed chan struct{}
}

func (s *server) set(snapshot Snapshot, more ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	stamp := func(o map[string]any) map[string]any {
		o["metadata"].(map[string]any)["resourceVersion"] = fmt.Sprint(s.version)
		return o
	}
	if s.former == nil {
		s.former = map[string][]any{}
	}
	for resource, objects := range s.objects {
		s.former[resource] = append(s.former[resource], objects...)
	}
	s.objects = map[string][]any{strings.ToLower(snapshot.Kind) + "s": {stamp(snapshot.Object.DeepCopy().Object)}}
	for _, pod := range snapshot.Current {
		u, err := toUnstructured("Pod", pod.DeepCopy())
		if err != nil {
			panic(err)
		}
		s.objects["pods"] = append(s.objects["pods"], stamp(u.Object))
	}
	s.objects["replicasets"] = more
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
}

func (s *server) now(resource string) (objects, former []any, version int, changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[resource], s.former[resource], s.version, s.changed
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	resource := path.Base(r.URL.Path)
	switch {
	case resource == "log":
		fmt.Fprintln(w, "cannot open the book")
		return
	case r.URL.Query().Get("sendInitialEvents") != "":
		http.Error(w, "{}", http.StatusUnprocessableEntity) // as a server that cannot stream lists
		return
	}
	objects, _, version, _ := s.now(resource)
	if r.URL.Query().Get("watch") == "" {
		if objects == nil {
			objects = []any{}
		}
		lists := map[string][2]string{
			"pods": {"v1", "PodList"}, "events": {"v1", "EventList"}, "jobs": {"batch/v1", "JobList"},
			"deployments": {"apps/v1", "DeploymentList"}, "replicasets": {"apps/v1", "ReplicaSetList"},
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": lists[resource][0], "kind": lists[resource][1], "metadata": map[string]any{"resourceVersion": fmt.Sprint(version)}, "items": objects})
		return
	}
	for seen := r.URL.Query().Get("resourceVersion"); ; seen = fmt.Sprint(version) {
		objects, former, now, changed := s.now(resource)
		version = now
		if seen != fmt.Sprint(version) {
			s.send(w, "DELETED", former)
			s.send(w, "ADDED", objects)
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		}
	}
}

func (s *server) send(w http.ResponseWriter, kind string, objects []any) {
	for _, o := range objects {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": o})
	}
}

// following starts a server with a case, and waits for its workload.
func following(t *testing.T, name string, within time.Duration, options Options) (*server, Snapshot, <-chan error) {
	t.Helper()
	snapshot, s := load(t, name), &server{}
	s.set(snapshot, replicaSet)
	web := httptest.NewServer(s)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	ended := make(chan error, 1)
	go func() { ended <- Wait(ctx, client, []Workload{snapshot.Workload}, options) }()
	t.Cleanup(func() {
		cancel()
		web.CloseClientConnections()
		web.Close()
	})
	return s, snapshot, ended
}

var replicaSet = map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": map[string]any{
	"name": "web-1", "namespace": "ns", "uid": "r1", "annotations": map[string]any{deploymentRevision: "1"},
	"ownerReferences": []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d1", "controller": true}},
}}

// What can heal is reported, and the rollout waits for it.
func TestWaitIsPatientWithWhatHeals(t *testing.T) {
	for name, seen := range map[string]string{
		"crash-loop": "CrashLoopBackOff, exit code 137, 2 restarts", "pull-network": "ImagePullBackOff: dial tcp", "config-error": `secret "x" not found`, "quota": "exceeded quota",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := make(chan string, 10)
			s, _, ended := following(t, name, 20*time.Second, Options{Progress: func(_ Workload, s Status) { told <- s.Message }})
			select {
			case got := <-told:
				if !strings.Contains(got, seen) {
					t.Errorf("told %q, want %q", got, seen)
				}
			case err := <-ended:
				t.Fatal(err)
			}
			s.set(load(t, "ready"), replicaSet)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWaitEndsEarly(t *testing.T) {
	for name, c := range map[string]struct {
		of      string
		options Options
		want    string
	}{
		"not found":             {"pull-not-found", Options{}, "cannot become ready: pod web-1-a, container app, ErrImagePull: failed to resolve reference"},
		"paused":                {"paused", Options{}, "deployment/web cannot become ready: it is paused: kubectl rollout resume deployment/web -n ns"},
		"job":                   {"job-failed", Options{}, "BackoffLimitExceeded"},
		"a crash loop":          {"crash-loop", Options{FailFast: true}, "CrashLoopBackOff, exit code 137, 2 restarts: OOMKilled\n  last log lines of app:\n    cannot open the book"},
		"and only for problems": {"pull-not-found", Options{FailOnly: true}, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, ended := following(t, c.of, 20*time.Second, c.options)
			if err := <-ended; err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestWaitSaysWhatWasSeenLast(t *testing.T) {
	for name, want := range map[string]string{
		"crash-loop": "deployment/web is not ready in time: pod web-1-a, container app, CrashLoopBackOff, exit code 137, 2 restarts: OOMKilled",
		"ready":      "their running images could not be verified yet",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, ended := following(t, name, 5*time.Second, Options{Check: func([]Snapshot) (bool, error) { return false, nil }})
			if err := <-ended; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

func TestLogsAreShown(t *testing.T) {
	lines := make(chan string, 10)
	_, _, ended := following(t, "job-failed", 20*time.Second, Options{Log: func(_ Workload, container, line string) { lines <- container + ": " + line }})
	if err := <-ended; err == nil {
		t.Error("a failed Job is no error")
	}
	if got := <-lines; got != "app: cannot open the book" {
		t.Errorf("got %q", got)
	}
}

// A StatefulSet waits for its pods one by one: an old one that never becomes
// ready keeps it from the new.
func TestOldPodHoldsUpAStatefulSet(t *testing.T) {
	s := load(t, "statefulset-half")
	s.Old, s.Current = []*corev1.Pod{load(t, "crash-loop").Current[0]}, nil
	if p := failed(s, "Ready: 0/2"); p.Pod == nil || p.Pod.Name != "web-1-a" {
		t.Errorf("problem %v names no pod", p)
	}
}
