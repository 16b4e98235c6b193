// Package waves keeps how far a rollout over several clusters has come: a record on
// the first of them, which every machine that can release can read and change.
package waves

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/retry"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

// State is where a rollout stands.
type State string

// The states. A rollout that is rolling and that no process works on was interrupted.
const (
	Rolling State = "rolling"
	Waiting State = "waiting"
	Paused  State = "paused"
	Aborted State = "aborted"
	Failed  State = "failed"
	Done    State = "done"
)

// Record is how far a rollout has come.
type Record struct {
	App    string `json:"app"`
	Target string `json:"target"`
	// Version is the app's, and Image and Chart are the digests of the release.
	Version string `json:"version"`
	Image   string `json:"image,omitempty"`
	Chart   string `json:"chart,omitempty"`
	State   State  `json:"state"`
	// Since is when the state began, in UTC.
	Since time.Time `json:"since"`
	// Done is how many of the Waves are over, with all that is to happen after them.
	Done  int `json:"done"`
	Waves int `json:"waves"`
	// Checked says that the checks after the wave that follows those have passed.
	Checked bool `json:"checked,omitempty"`
	// Until is when the wait after that wave ends.
	Until *time.Time `json:"until,omitempty"`
	// By says who paused or aborted it.
	By string `json:"by,omitempty"`
	// Upgraded are the clusters that the rollout has brought from another release to this
	// one, and that still run it.
	Upgraded []string `json:"upgraded,omitempty"`
	// Message says what it failed by.
	Message string `json:"message,omitempty"`
}

// Same reports that the record is of this release.
func (r *Record) Same(version, image, chart string) bool {
	return r.Version == version && r.Image == image && r.Chart == chart
}

// Enter changes the state.
func (r *Record) Enter(s State, by string, now time.Time) {
	r.State, r.By, r.Since, r.Message = s, by, now.UTC().Truncate(time.Second), ""
}

// Passed is after all that happens after the next wave.
func (r *Record) Passed() { r.Done, r.Checked, r.Until = r.Done+1, false, nil }

// Back marks a wave, counted from zero, as not over, because its clusters were changed again.
func (r *Record) Back(wave int) {
	if r.Done >= wave {
		r.Done, r.Checked, r.Until = wave, false, nil
	}
}

// Has reports a cluster that the rollout has upgraded.
func (r *Record) Has(cluster string) bool { return slices.Contains(r.Upgraded, cluster) }

// Note takes down whether the rollout has upgraded a cluster.
func (r *Record) Note(cluster string, upgraded bool) {
	r.Upgraded = slices.DeleteFunc(r.Upgraded, func(name string) bool { return name == cluster })
	if upgraded {
		r.Upgraded = append(r.Upgraded, cluster)
	}
}

// Held reports a rollout that goes on only later, or when somebody says so. Another
// release does not take its place.
func (r *Record) Held() bool { return r.State == Waiting || r.State == Paused }

// String tells where the rollout stands.
func (r *Record) String() string {
	wave := fmt.Sprintf("after wave %d of %d", r.Done, r.Waves)
	if r.Done == 0 {
		wave = fmt.Sprintf("before wave 1 of %d", r.Waves)
	}
	at := r.Since.Format(time.RFC3339)
	switch r.State {
	case Waiting:
		if r.Until != nil {
			return fmt.Sprintf("waits after wave %d of %d until %s", r.Done+1, r.Waves, r.Until.UTC().Format(time.RFC3339))
		}
	case Paused:
		return fmt.Sprintf("paused %s by %s at %s", wave, r.By, at)
	case Aborted:
		return fmt.Sprintf("aborted %s by %s at %s", wave, r.By, at)
	case Failed:
		return fmt.Sprintf("failed %s at %s: %s", wave, at, r.Message)
	case Done:
		return fmt.Sprintf("done at %s", at)
	}
	return fmt.Sprintf("in wave %d of %d", min(r.Done+1, r.Waves), r.Waves)
}

// Name is that of the record and of the lease of an app on a target. No release has such
// a name: it has a dot.
func Name(app, target string) string { return app + "." + target }

const key = "rollout"

// Store keeps the record of an app on a target.
type Store struct {
	// ConfigMaps are those of the namespace.
	ConfigMaps  typed.ConfigMapInterface
	App, Target string
}

func (s Store) name() string { return "harmony-" + Name(s.App, s.Target) }

// Read returns the record, or nil if there is none.
func (s Store) Read(ctx context.Context) (*Record, error) {
	_, record, err := s.read(ctx)
	return record, err
}

func (s Store) read(ctx context.Context) (*corev1.ConfigMap, *Record, error) {
	found, err := s.ConfigMaps.Get(ctx, s.name(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the rollout of %s on %s: %w", s.App, s.Target, err)
	}
	record, err := parse(found.Data[key])
	if err != nil {
		return nil, nil, &protocol.Error{
			Code: protocol.ExitFailed, Message: fmt.Sprintf("ConfigMap %s/%s: %v", found.Namespace, found.Name, err),
			Hint: "it is harmony's record of a rollout; without it, the next one begins with the first wave",
		}
	}
	return found, record, nil
}

// parse reads a record, which anybody may have changed.
func parse(text string) (*Record, error) {
	record := &Record{}
	if err := json.Unmarshal([]byte(text), record); err != nil {
		return nil, fmt.Errorf("%s is not the record of a rollout: %w", key, err)
	}
	known := []State{Rolling, Waiting, Paused, Aborted, Failed, Done}
	if !slices.Contains(known, record.State) || record.Done < 0 || record.Done > record.Waves {
		return nil, fmt.Errorf("%s is not the record of a rollout: state %q, %d of %d waves", key, record.State, record.Done, record.Waves)
	}
	return record, nil
}

// Change changes the record, also when others do so at the same time: change is called
// again with the record as it is then, or nil if there is none. If it returns nil, nothing
// is written.
func (s Store) Change(ctx context.Context, change func(*Record) (*Record, error)) (*Record, error) {
	var changed *Record
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		found, record, err := s.read(ctx)
		if err != nil {
			return err
		}
		if changed, err = change(record); err != nil || changed == nil {
			return err
		}
		return s.write(ctx, found, changed)
	})
	return changed, err
}

func (s Store) write(ctx context.Context, found *corev1.ConfigMap, record *Record) error {
	record.App, record.Target = s.App, s.Target
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if found != nil {
		if found.Data[key] == string(text) {
			return nil
		}
		found.Data = map[string]string{key: string(text)}
		_, err = s.ConfigMaps.Update(ctx, found, metav1.UpdateOptions{})
		return err
	}
	_, err = s.ConfigMaps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: s.name(), Labels: map[string]string{
			marks.ManagedBy: marks.Harmony, marks.App: s.App, marks.Target: s.Target,
		}},
		Data: map[string]string{key: string(text)},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return apierrors.NewConflict(corev1.Resource("configmaps"), s.name(), err)
	}
	return err
}

// Forget removes the record, if there is one.
func (s Store) Forget(ctx context.Context) error {
	err := s.ConfigMaps.Delete(ctx, s.name(), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
