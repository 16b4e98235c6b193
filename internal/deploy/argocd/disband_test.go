package argocd

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// setServer has one ApplicationSet until it is deleted. One that lingers stays all the
// same.
type setServer struct {
	mu      sync.Mutex
	object  map[string]any
	lingers bool
	deletes []string
}

func (s *setServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodDelete {
		var options struct{ PropagationPolicy string }
		_ = json.NewDecoder(r.Body).Decode(&options)
		s.deletes = append(s.deletes, options.PropagationPolicy)
		if !s.lingers {
			s.object = nil
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"})
		return
	}
	if s.object == nil {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"})
		return
	}
	_ = json.NewEncoder(w).Encode(s.object)
}

// withSet is a fanout to two clusters whose Argo CD has the ApplicationSet of an app.
func withSet(t *testing.T, app string, lingers bool) (*fanout, *setServer) {
	t.Helper()
	s := &setServer{lingers: lingers, object: map[string]any{"apiVersion": apiVersion, "kind": setKind, "metadata": map[string]any{
		"name": "app-production", "namespace": "argocd", "uid": "1",
		"labels": map[string]any{marks.ManagedBy: marks.Harmony, marks.App: app, marks.Target: "production"},
	}}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	f := newFanout(t, 2)
	f.set = setKind + " argocd/app-production"
	f.settings.timeout = time.Second
	hub, err := delivery.NewCluster(&conn.Conn{Config: &rest.Config{Host: server.URL, QPS: -1}})
	if err != nil {
		t.Fatal(err)
	}
	made, err := (&adapter{settings: f.settings}).connectArgo(hub, "app-production")
	if err != nil {
		t.Fatal(err)
	}
	made.patience, f.argo = 100*time.Millisecond, made
	return f, s
}

// The ApplicationSet goes, and not what it made.
func TestLetGo(t *testing.T) {
	f, s := withSet(t, "app", false)
	for range 2 { // the second time it is gone
		if err := f.letGo(t.Context()); err != nil || !slices.Equal(s.deletes, []string{"Orphan"}) {
			t.Errorf("deleted by %q, %v", s.deletes, err)
		}
	}
	f, s = withSet(t, "another", false)
	if err := f.letGo(t.Context()); protocol.ExitCode(err) != protocol.ExitUnsupported || len(s.deletes) > 0 {
		t.Errorf("one of another app: deleted by %q, %v", s.deletes, err)
	}
	f, _ = withSet(t, "app", true)
	if err := f.letGo(t.Context()); protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "is not gone after 1s") || protocol.HintOf(err) == "" {
		t.Errorf("one that lingers: %v", err)
	}
}

// The adapter of a cluster removes the Application that the ApplicationSet made for it,
// at the ApplicationSet's Argo CD.
func TestMember(t *testing.T) {
	f, _ := withSet(t, "app", false)
	of := func(cluster string) *adapter {
		one := &adapter{Base: delivery.Base{Env: capability.Environment{Cluster: cluster}}, settings: options{application: "{app}-{target}-{cluster}", namespace: "argocd"}}
		return f.member(one).(*adapter)
	}
	one := of("Shop 1")
	if want := f.members[1].application; one.settings.application != want || one.hub != f.argo.Cluster {
		t.Errorf("Application %s, want %s", one.settings.application, want)
	}
	d := &deployment{Call: f.Call, argo: f.argo, set: one.set}
	owned := func(kind, name string) error {
		return d.owned(f.applicationFor(t, func(object map[string]any) {
			with(map[string]any{marks.ManagedBy: marks.Harmony, marks.App: "app", marks.Target: "production"}, "metadata", "labels")(object)
			with([]any{map[string]any{"kind": kind, "name": name}}, "metadata", "ownerReferences")(object)
		}))
	}
	if err := owned(setKind, "app-production"); err != nil {
		t.Errorf("one of the ApplicationSet: %v", err)
	}
	if err := owned(setKind, "other"); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("one of another ApplicationSet: %v", err)
	}
	d.set = ""
	if err := owned(setKind, "app-production"); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("without one: %v", err)
	}
}
