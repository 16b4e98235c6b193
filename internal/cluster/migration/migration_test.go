package migration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/job"
	"github.com/nationtech/harmony/pkg/protocol"
)

const namespace = "shop"

// world is a cluster whose Jobs end when they are looked at.
type world struct {
	tracker clienttesting.ObjectTracker
	// ran are the names of the Jobs that were let run, by their UID.
	ran map[types.UID]string
	// fails are the migrations that fail.
	fails map[string]bool
	made  int
}

// config returns the ConfigMap of the record, or nil.
func (w *world) config() *corev1.ConfigMap {
	found, err := w.tracker.Get(corev1.SchemeGroupVersion.WithResource("configmaps"), namespace, RecordName("shop"))
	if err != nil {
		return nil
	}
	return found.(*corev1.ConfigMap)
}

func newWorld() *world {
	return &world{tracker: fake.NewClientset().Tracker(), ran: map[types.UID]string{}, fails: map[string]bool{}}
}

// runner is one that calls before ahead of each of its requests.
func (w *world) runner(version string, before func(n int, a clienttesting.Action)) *Runner {
	client, calls := &fake.Clientset{}, 0
	react := clienttesting.ObjectReaction(w.tracker)
	client.AddReactor("*", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		calls++
		if before != nil {
			before(calls, a)
		}
		if a.GetResource().Resource == "jobs" {
			w.cluster(a)
		}
		if err := w.version(a); err != nil {
			return true, nil, err
		}
		handled, object, err := react(a)
		if config, ok := object.(*corev1.ConfigMap); ok && a.GetVerb() == "patch" && err == nil {
			config.ResourceVersion = fmt.Sprint(w.made) // the patch has brought the old one back
			err = w.tracker.Update(a.GetResource(), config, namespace)
		}
		if resumed, ok := object.(*batchv1.Job); ok && a.GetVerb() == "patch" && err == nil {
			w.ran[resumed.UID] = resumed.Name
		}
		return handled, object, err
	})
	const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	return &Runner{
		Client: client, Conn: &conn.Conn{Config: &rest.Config{}}, Namespace: namespace,
		App: protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop", Version: version}, Migrations: []protocol.Migration{
			{Name: "schema"}, {Name: "words", Job: protocol.JobSpec{Image: "postgres:17"}},
		}},
		Image: protocol.ImageRef{Registry: "registry.example.com", Repository: "shop", Digest: digest},
		Mask:  func(text string) string { return strings.ReplaceAll(text, "secret", "***") },
		Say:   func(string, ...any) {},
	}
}

// version refuses to change a ConfigMap of another version, as an API server does.
func (w *world) version(a clienttesting.Action) error {
	if a.GetResource().Resource != "configmaps" {
		return nil
	}
	w.made++
	if create, ok := a.(clienttesting.CreateAction); ok && a.GetVerb() == "create" {
		create.GetObject().(*corev1.ConfigMap).ResourceVersion = fmt.Sprint(w.made)
	}
	patch, ok := a.(clienttesting.PatchActionImpl)
	found := w.config()
	if !ok || found == nil {
		return nil
	}
	if !strings.Contains(string(patch.Patch), fmt.Sprintf(`"resourceVersion":%q`, found.ResourceVersion)) {
		return apierrors.NewConflict(a.GetResource().GroupResource(), found.Name, errors.New("of another version"))
	}
	return nil
}

// cluster gives a Job its UID, and ends one that is looked at.
func (w *world) cluster(a clienttesting.Action) {
	if create, ok := a.(clienttesting.CreateAction); ok && a.GetVerb() == "create" {
		w.made++
		create.GetObject().(*batchv1.Job).UID = types.UID(fmt.Sprint(w.made))
	}
	get, ok := a.(clienttesting.GetAction)
	if !ok || a.GetVerb() != "get" {
		return
	}
	found, err := w.tracker.Get(a.GetResource(), namespace, get.GetName())
	if err != nil {
		return
	}
	j := found.DeepCopyObject().(*batchv1.Job)
	if ended, _, _ := job.Ended(*j); ended || *j.Spec.Suspend {
		return
	}
	condition := batchv1.JobCondition{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}
	if w.fails[entryOf(j).Migration] {
		condition.Type, condition.Reason = batchv1.JobFailed, "Told"
	}
	j.Status.Conditions = append(j.Status.Conditions, condition)
	j.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"uid": string(j.UID)}}
	if err := w.tracker.Update(a.GetResource(), j, namespace); err != nil {
		panic(err)
	}
}

func (w *world) jobs(t *testing.T) int {
	t.Helper()
	jobs, err := w.runner("", nil).jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(jobs)
}

func statuses(results []protocol.MigrationResult) string {
	var list []string
	for _, r := range results {
		list = append(list, string(r.Status))
	}
	return strings.Join(list, " ")
}

func TestRunsOncePerVersion(t *testing.T) {
	w := newWorld()
	for _, step := range []struct{ version, planned, want string }{
		{"1.0.0", "planned planned", "done done"},
		{"1.0.0", "unchanged unchanged", "unchanged unchanged"},
		{"1.1.0", "planned planned", "done done"},
		{"1.0.0", "unchanged unchanged", "unchanged unchanged"},
	} {
		planned, err := w.runner(step.version, nil).Plan(t.Context())
		if got := statuses(planned); err != nil || got != step.planned {
			t.Errorf("%s: planned %s, %v, want %s", step.version, got, err, step.planned)
		}
		results, err := w.runner(step.version, nil).Run(t.Context())
		if got := statuses(results); err != nil || got != step.want {
			t.Errorf("%s: %s, %v, want %s", step.version, got, err, step.want)
		}
	}
	if len(w.ran) != 4 || w.jobs(t) != 0 {
		t.Errorf("%d ran, %d jobs are left", len(w.ran), w.jobs(t))
	}
	// What runs is what is remembered: another image of the same version is migrated to.
	r := w.runner("1.0.0", nil)
	r.Image.Digest = "sha256:" + strings.Repeat("b", 64)
	results, err := r.Run(t.Context())
	if got := statuses(results); err != nil || got != "done unchanged" {
		t.Errorf("of another image: %s, %v", got, err)
	}
}

func TestFailedRunsAgain(t *testing.T) {
	w := newWorld()
	w.fails["schema"] = true
	for range 2 {
		results, err := w.runner("1.0.0", nil).Run(t.Context())
		if err == nil || statuses(results) != "failed skipped" || !strings.Contains(err.Error(), "migration schema: Told") {
			t.Errorf("%s, %v", statuses(results), err)
		}
	}
	w.fails = nil
	results, err := w.runner("1.0.0", nil).Run(t.Context())
	if err != nil || statuses(results) != "done done" || len(w.ran) != 4 || w.jobs(t) != 0 {
		t.Errorf("%s, %v; ran %v", statuses(results), err, w.ran)
	}
}

// Whichever request a run is killed before, the next one finishes, and nothing runs twice.
func TestKilledAtEachRequest(t *testing.T) {
	killed := errors.New("killed")
	for at := 1; ; at++ {
		w, over := newWorld(), true
		func() {
			defer func() {
				if p := recover(); p != nil && p != any(killed) {
					panic(p)
				}
			}()
			_, _ = w.runner("1.0.0", func(n int, _ clienttesting.Action) {
				if n == at {
					over = false
					panic(killed)
				}
			}).Run(t.Context())
		}()
		if over {
			if at < 20 {
				t.Errorf("a run makes %d requests only", at)
			}
			return
		}
		results, err := w.runner("1.0.0", nil).Run(t.Context())
		if err != nil || len(w.ran) != 2 || w.jobs(t) != 0 || strings.Contains(statuses(results), "failed") {
			t.Errorf("killed before request %d: %s, %v; ran %v, %d jobs are left", at, statuses(results), err, w.ran, w.jobs(t))
		}
	}
}

// A run that stands still before any of its requests, while another one takes its lease and
// runs all of them, starts nothing more.
func TestLeaseLostAtEachRequest(t *testing.T) {
	for at, over := 1, false; !over; at++ {
		w := newWorld()
		over = true
		_, err := w.runner("1.0.0", func(n int, _ clienttesting.Action) {
			if n != at {
				return
			}
			over = false
			if results, err := w.runner("1.0.0", nil).Run(t.Context()); err != nil {
				t.Errorf("the other one, at request %d: %s, %v", at, statuses(results), err)
			}
		}).Run(t.Context())
		if len(w.ran) != 2 {
			t.Errorf("at request %d: ran %v (%v)", at, w.ran, err)
		}
		if _, err := w.runner("1.0.0", nil).Run(t.Context()); err != nil || w.jobs(t) != 0 {
			t.Errorf("after that, at request %d: %v, %d jobs are left", at, err, w.jobs(t))
		}
	}
}

// Whoever uninstalls an app removes what its migrations have left.
func TestForget(t *testing.T) {
	w := newWorld()
	r := w.runner("1.0.0", nil)
	if left, err := r.Left(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := r.Left(t.Context())
	if err != nil || len(left) != 1 || left[0].String() != "configmap/harmony-migrations-shop" {
		t.Errorf("left %v, %v", left, err)
	}
	if err := r.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := r.Left(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// FuzzRecord reads what anybody may have written into the ConfigMap.
func FuzzRecord(f *testing.F) {
	f.Add("shop-migrate-0123456789", `{"migration":"schema","version":"1.0.0","state":"done","at":"2026-11-28T12:00:00Z"}`)
	f.Add("x", `{"at":7}`)
	f.Fuzz(func(t *testing.T, key, text string) {
		all := parse(map[string]string{key: text})
		if len(all) > 1 {
			t.Errorf("%q: %v", text, all)
		}
	})
}

func TestRecordForgetsTheOldest(t *testing.T) {
	w := newWorld()
	r := w.runner("1.0.0", nil)
	all, err := r.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range kept + 3 {
		if err := r.write(t.Context(), all, fmt.Sprintf("job-%04d", i), entry{State: done}); err != nil {
			t.Fatal(err)
		}
	}
	found, err := r.read(t.Context())
	if err != nil || len(found.entries) != kept || len(all.entries) != kept || found.isDone("job-0002") || !found.isDone("job-0003") {
		t.Errorf("%d entries, %v", len(found.entries), err)
	}
}
