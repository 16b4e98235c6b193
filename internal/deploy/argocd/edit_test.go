package argocd

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// apiServer answers reads of one object, and refuses every write with a status.
type apiServer struct {
	*httptest.Server
	writes atomic.Int32
	leases atomic.Int32
}

func newServer(t *testing.T, object map[string]any, status int) *apiServer {
	s := &apiServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(r.URL.Path, "/leases") {
			s.leases.Add(1)
		}
		if r.Method == http.MethodGet {
			_ = json.NewEncoder(w).Encode(object)
			return
		}
		s.writes.Add(1)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "status": "Failure", "code": status, "reason": map[int]string{
			http.StatusInternalServerError: "InternalError", http.StatusConflict: "Conflict"}[status], "message": "etcdserver: no leader"})
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *apiServer) adapter(dryRun bool) *adapter {
	return &adapter{
		Base: delivery.Base{
			Flags: &conn.Flags{Server: s.URL},
			Env: capability.Environment{DryRun: dryRun, Progress: func(protocol.Event) {}, Topology: protocol.Topology{Targets: map[string]protocol.Target{
				"staging": {InCluster: &protocol.InCluster{Namespace: "fleet"}}}}},
		},
		settings: options{namespace: "argocd", application: "{app}-{target}", project: "default", manage: true, timeout: time.Minute},
	}
}

// released is an Application that runs one release and knows the one before.
func released(t *testing.T) map[string]any {
	source := func(letter string) map[string]any {
		return map[string]any{"repoURL": "oci://registry/charts/app", "path": ".", "targetRevision": digest(letter)}
	}
	previous, err := json.Marshal(release{Source: source("a"), Image: "registry/app@" + digest("b"), Version: "1.3.2"})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{
			"name": "app-staging", "namespace": "argocd",
			"labels":      map[string]any{marks.ManagedBy: marks.Harmony, marks.App: "app", marks.Target: "staging"},
			"annotations": map[string]any{marks.Image: "registry/app@" + digest("d"), marks.Version: "1.4.0", marks.Previous: string(previous)},
		}, "spec": map[string]any{"source": source("c")},
	}
}

// An API server may answer reads, and every write with 500; one that others write
// to all the time answers 409. Neither is written to at full speed, nor for ever.
func TestWritesAreNotRepeatedForEver(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusConflict} {
		s := newServer(t, released(t), status)
		config := &rest.Config{Host: s.URL, QPS: -1}
		d, err := s.adapter(false).prepare(protocol.AppSpec{Metadata: protocol.Metadata{Name: "app"}}, "staging", protocol.ImageRef{}, protocol.ChartRef{})
		if err != nil {
			t.Fatal(err)
		}
		d.argo.patience = 350 * time.Millisecond
		err = d.argo.refresh(t.Context())
		if n := s.writes.Load(); protocol.ExitCode(d.argo.Explain(err)) != protocol.ExitRetryable || n < 2 || n > 3 {
			t.Errorf("status %d of %s: %v after %d writes", status, config.Host, err, n)
		}
		f := &fanout{deployment: d, set: "ApplicationSet x"}
		d.App.Name, d.Target = "app", "staging"
		s.writes.Store(0)
		err = f.write(t.Context(), release{}, map[string]any{"goTemplate": true})
		if n := s.writes.Load(); protocol.ExitCode(d.argo.Explain(err)) != protocol.ExitRetryable || n < 2 || n > 3 {
			t.Errorf("ApplicationSet, status %d: %v after %d writes", status, err, n)
		}
	}
}

// A rollback that is only planned writes nothing, not even a Lease; a version may
// be written as a tag is.
func TestPlannedRollbackWritesNothing(t *testing.T) {
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "app"}}
	for to, want := range map[string]protocol.Outcome{
		"": protocol.OutcomeRolledBack, "v1.3.2": protocol.OutcomeRolledBack, "1.3.2": protocol.OutcomeRolledBack, "v1.4.0": protocol.OutcomeUnchanged,
	} {
		s := newServer(t, released(t), http.StatusForbidden)
		result, err := s.adapter(true).Rollback(t.Context(), app, "staging", to)
		if err != nil || result.Outcome != want || !result.Planned || s.writes.Load() > 0 || s.leases.Load() > 0 {
			t.Errorf("to %q: %+v, %v, after %d writes", to, result, err, s.writes.Load())
		}
	}
	s := newServer(t, released(t), http.StatusForbidden)
	if _, err := s.adapter(true).Rollback(t.Context(), app, "staging", "v9.9.9"); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("a version that is not there: %v", err)
	}
}

// What Argo CD refused is taken back whole: labels and annotations of harmony's
// are as they were, and those of others as they are.
func TestRestore(t *testing.T) {
	object := func(labels, annotations map[string]string, revision string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"source": map[string]any{"targetRevision": revision}}, "operation": map[string]any{}}}
		o.SetLabels(labels)
		o.SetAnnotations(annotations)
		return o
	}
	found := &application{Unstructured: object(map[string]string{marks.App: "app", "team": "a"}, map[string]string{marks.Image: "old"}, "1")}
	now := object(map[string]string{marks.App: "other", marks.Target: "x", "team": "b"}, map[string]string{marks.Image: "new", marks.Previous: "{}", "note": "kept"}, "2")
	if err := (&work{found: found, written: true}).restore(now); err != nil {
		t.Fatal(err)
	}
	want := object(map[string]string{marks.App: "app", "team": "b"}, map[string]string{marks.Image: "old", "note": "kept"}, "1")
	delete(want.Object, "operation")
	if !reflect.DeepEqual(now.Object, want.Object) {
		t.Errorf("got %v, want %v", now.Object, want.Object)
	}
}
