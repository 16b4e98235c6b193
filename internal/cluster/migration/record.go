package migration

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

// RecordName is the name of the ConfigMap that says which migrations of an app have run.
func RecordName(app string) string { return "harmony-migrations-" + app }

// The states of an entry. One that failed or was started only is run again.
const (
	started = "started"
	done    = "done"
	failed  = "failed"
)

// kept is how many entries a record has at most, the newest ones.
const kept = 200

// entry says how a migration of a version stands. Its key in the ConfigMap is the name of
// its Job, which follows from all that it runs.
type entry struct {
	Migration string `json:"migration"`
	Version   string `json:"version"`
	Image     string `json:"image"`
	State     string `json:"state"`
	// At is when it came to this state.
	At time.Time `json:"at"`
	// Run is the one that has started it: another one that has not noticed that it lost
	// the lease does not start it.
	Run string `json:"run,omitempty"`
}

// record are the entries by the names of their Jobs, as they were read. It is written only
// over that: a run that was held up cannot undo what another one has written meanwhile.
type record struct {
	entries map[string]entry
	// version is the ConfigMap's resourceVersion, or empty if it does not exist yet.
	version string
}

// isDone reports that the migration of a Job has run.
func (r *record) isDone(job string) bool { return r.entries[job].State == done }

// read reads the record, which is empty if there is no ConfigMap. An invalid entry is
// ignored, and its migration runs again.
func (r *Runner) read(ctx context.Context) (*record, error) {
	found, err := r.Client.CoreV1().ConfigMaps(r.Namespace).Get(ctx, RecordName(r.App.Name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &record{entries: map[string]entry{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which migrations have run: %w", err)
	}
	return &record{parse(found.Data), found.ResourceVersion}, nil
}

func parse(data map[string]string) map[string]entry {
	all := map[string]entry{}
	for job, text := range data {
		var e entry
		if json.Unmarshal([]byte(text), &e) == nil {
			all[job] = e
		}
	}
	return all
}

// write adds an entry, or replaces that of the same Job, and leaves out the oldest ones.
func (r *Runner) write(ctx context.Context, all *record, job string, e entry) error {
	e.At = time.Now().UTC().Truncate(time.Second)
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	all.entries[job] = e
	data := map[string]any{job: string(text)}
	for _, old := range all.outdated() {
		data[old] = nil
		delete(all.entries, old)
	}
	var written *corev1.ConfigMap
	maps := r.Client.CoreV1().ConfigMaps(r.Namespace)
	if all.version == "" {
		written, err = maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: RecordName(r.App.Name), Labels: map[string]string{marks.ManagedBy: marks.Harmony, marks.App: r.App.Name}},
			Data:       map[string]string{job: string(text)},
		}, metav1.CreateOptions{})
	} else {
		var patch []byte
		if patch, err = json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": all.version}, "data": data}); err != nil {
			return err
		}
		written, err = maps.Patch(ctx, RecordName(r.App.Name), types.MergePatchType, patch, metav1.PatchOptions{})
	}
	switch {
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err):
		return takenOver(e)
	case err != nil:
		return fmt.Errorf("record that migration %s is %s: %w", e.Migration, e.State, err)
	}
	all.version = written.ResourceVersion
	return nil
}

// takenOver is the error of a run that finds that another one has begun since.
func takenOver(e entry) error {
	return protocol.Retryable("migration %s was taken over by another run", e.Migration)
}

// outdated are the oldest of too many entries.
func (r *record) outdated() []string {
	if len(r.entries) <= kept {
		return nil
	}
	var jobs []string
	for job := range r.entries {
		jobs = append(jobs, job)
	}
	slices.SortFunc(jobs, func(a, b string) int { return cmp.Or(r.entries[a].At.Compare(r.entries[b].At), cmp.Compare(a, b)) })
	return jobs[:len(jobs)-kept]
}
