package delivery

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// apiServer is one that has a namespace and a Deployment, and answers every dry
// run with a status.
type apiServer struct {
	mu     sync.Mutex
	asked  []string
	status *metav1.Status
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	object := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}
	if strings.Contains(r.URL.Path, "/namespaces/fleet/") {
		object = map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name}, "spec": map[string]any{"replicas": 1}}
	}
	switch {
	case r.Method == http.MethodGet && name == "new":
		w.WriteHeader(http.StatusNotFound)
		object = map[string]any{"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
	case r.Method != http.MethodGet && r.URL.Query().Get("dryRun") != "All":
		panic("it is written to the server")
	case r.Method != http.MethodGet:
		s.asked = append(s.asked, r.Method+" "+name)
		if s.status != nil {
			s.status.Kind, s.status.APIVersion, s.status.Status = "Status", "v1", "Failure"
			w.WriteHeader(int(s.status.Code))
			_ = json.NewEncoder(w).Encode(s.status)
			return
		}
	}
	_ = json.NewEncoder(w).Encode(object)
}

func newPreview(t *testing.T, s *apiServer) Preview {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := dynamic.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []schema.GroupVersionKind{{Group: "apps", Version: "v1", Kind: "Deployment"}, {Group: "apps", Version: "v1", Kind: "StatefulSet"}, {Group: "batch", Version: "v1", Kind: "Job"}} {
		mapper.Add(kind, meta.RESTScopeNamespace)
	}
	return Preview{Space: manifest.Space{Dynamic: client, Mapper: mapper, Namespace: "fleet"}, Source: func(*unstructured.Unstructured) string { return "templates/app.yaml" }}
}

func objectsOf(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	found, err := manifest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What the server refuses is told in one line, with the object, its file, the
// field and what to do; whatever the server dumps is not.
func TestRefusals(t *testing.T) {
	dump := `{"metadata":{"labels":{"x":"` + strings.Repeat("y", 5000) + `"}}}`
	invalid := func(field, message string) *metav1.Status {
		return &metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: "is invalid: " + dump, Details: &metav1.StatusDetails{
			Causes: []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Field: field, Message: message}}}}
	}
	plain := func(code int32, reason metav1.StatusReason, message string) *metav1.Status {
		return &metav1.Status{Code: code, Reason: reason, Message: message}
	}
	for _, c := range []struct {
		name, object string
		status       *metav1.Status
		want, hint   string
	}{
		{"selector", "kind: Deployment", invalid("spec.selector", "Invalid value: "+dump+": field is immutable"), "spec.selector: field is immutable", "delete -n fleet deployment case"},
		{"selector of Go", "kind: Deployment", invalid("spec.selector", `Invalid value: v1.LabelSelector{MatchLabels:map[string]string{"a":"b"}}: field is immutable`), "spec.selector: field is immutable", "--cascade=orphan"},
		{"claims", "kind: StatefulSet", invalid("spec", "Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden"), "spec: Forbidden: updates to statefulset", "delete -n fleet statefulset case"},
		{"Job", "apiVersion: batch/v1\nkind: Job", invalid("spec.template", "Invalid value: "+dump+": field is immutable"), "spec.template: field is immutable", "make the Job a hook"},
		{"a short value", "kind: Deployment", invalid("spec.replicas", `Invalid value: "-1": must be 0 or more`), `spec.replicas: "-1": must be 0 or more`, "values"},
		{"patch", "kind: Deployment", invalid("patch", `Invalid value: `+fmt.Sprintf("%q", dump)+`: unrecognized type: string`), "patch: unrecognized type: string", "values"},
		{"quota", "kind: Deployment\nmetadata: {name: new}", plain(403, metav1.StatusReasonForbidden, `deployments.apps "new" is forbidden: exceeded quota: small`), "exceeded quota: small", "kubectl describe quota -n fleet"},
		{"policy", "kind: Deployment", plain(422, metav1.StatusReasonInvalid, "ValidatingAdmissionPolicy 'p' denied request: no latest"), "'p' denied request: no latest", "admission policy"},
		{"webhook", "kind: Deployment", plain(403, metav1.StatusReasonForbidden, `admission webhook "w" denied the request:`+"\n no"), `admission webhook "w" denied the request: no`, "admission policy"},
		{"long", "kind: Deployment", plain(400, metav1.StatusReasonBadRequest, dump), "…", ""},
		{"a missing account", "kind: Deployment\nmetadata: {name: new}", plain(403, metav1.StatusReasonForbidden, `error looking up service account fleet/x`), "", ""},
		{"webhook without dry run", "kind: Deployment", plain(400, metav1.StatusReasonBadRequest, `admission webhook "w" does not support dry run`), "", ""},
		{"server error", "kind: Deployment", plain(500, metav1.StatusReasonInternalError, "failed calling webhook"), "", ""},
	} {
		text := "apiVersion: apps/v1\n" + c.object
		if strings.HasPrefix(c.object, "apiVersion") {
			text = c.object
		}
		if !strings.Contains(text, "metadata") {
			text += "\nmetadata: {name: case}"
		}
		p := newPreview(t, &apiServer{status: c.status})
		err := p.Check(t.Context(), nil, objectsOf(t, text+"\nspec: {replicas: 2}"))
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v, which may come right", c.name, err)
			}
			continue
		}
		message := fmt.Sprint(err)
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(message, c.want) || !strings.Contains(message, "(templates/app.yaml): the API server would refuse it: ") ||
			!strings.Contains(protocol.HintOf(err), c.hint) || strings.Contains(message, "\n") || len(message) > 500 {
			t.Errorf("%s: %v (hint %s), want %q, hint %q", c.name, err, protocol.HintOf(err), c.want, c.hint)
		}
	}
}

// A number where Kubernetes has a string is found before the server is asked, even
// where there is no namespace to try it in.
func TestWrongTypesAreNamed(t *testing.T) {
	const text = `apiVersion: apps/v1
kind: Deployment
metadata: {name: case}
spec: {template: {spec: {containers: [{name: a, env: [{name: A, value: VALUE}]}]}}}
`
	for value, want := range map[string]string{"1": "not a number", "true": "not a bool"} {
		s := &apiServer{}
		err := newPreview(t, s).Check(t.Context(), nil, objectsOf(t, strings.ReplaceAll(text, "VALUE", value)))
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "env.value must be a string, "+want) || len(s.asked) > 0 ||
			protocol.HintOf(err) != "quote it in the chart's template or in the values" {
			t.Errorf("%v (%s), asked %v", err, protocol.HintOf(err), s.asked)
		}
	}
}

// Only what changes is asked about.
func TestOnlyChangesAreChecked(t *testing.T) {
	s := &apiServer{}
	const text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: 1}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\nspec: {replicas: 2}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: new}\n"
	before, after := objectsOf(t, text), objectsOf(t, strings.Replace(text, "replicas: 2", "replicas: 3", 1))
	if err := newPreview(t, s).Check(t.Context(), before[:2], after); err != nil {
		t.Fatal(err)
	}
	slices.Sort(s.asked)
	if want := []string{"PATCH b", "POST deployments"}; !slices.Equal(s.asked, want) {
		t.Errorf("asked %v, want %v", s.asked, want)
	}
}
