package waves

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func TestString(t *testing.T) {
	until := noon.Add(30 * time.Minute)
	for _, c := range []struct {
		record Record
		want   string
	}{
		{Record{State: Rolling, Done: 1, Waves: 3}, "in wave 2 of 3"},
		{Record{State: Rolling, Done: 3, Waves: 3}, "in wave 3 of 3"},
		{Record{State: Waiting, Done: 1, Waves: 3, Until: &until}, "waits after wave 2 of 3 until 2026-11-28T12:30:00Z"},
		{Record{State: Paused, Done: 1, Waves: 3, By: "ann@desk", Since: noon}, "paused after wave 1 of 3 by ann@desk at 2026-11-28T12:00:00Z"},
		{Record{State: Paused, Waves: 3, By: "ann@desk", Since: noon}, "paused before wave 1 of 3 by ann@desk at 2026-11-28T12:00:00Z"},
		{Record{State: Aborted, Done: 2, Waves: 3, By: "ann@desk", Since: noon}, "aborted after wave 2 of 3 by ann@desk at 2026-11-28T12:00:00Z"},
		{Record{State: Failed, Done: 1, Waves: 3, Since: noon, Message: "2 of 9 clusters failed"}, "failed after wave 1 of 3 at 2026-11-28T12:00:00Z: 2 of 9 clusters failed"},
		{Record{State: Done, Done: 3, Waves: 3, Since: noon}, "done at 2026-11-28T12:00:00Z"},
	} {
		if got := c.record.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestBack(t *testing.T) {
	for _, c := range []struct{ done, wave, want int }{{3, 1, 1}, {2, 2, 2}, {1, 2, 1}} {
		r := Record{Done: c.done, Waves: 3, Checked: true}
		if r.Back(c.wave); r.Done != c.want || r.Checked != (c.done < c.wave) {
			t.Errorf("%d waves were over, and wave %d was worked on: %+v", c.done, c.wave, r)
		}
	}
}

// Two that change the record at the same time do not undo each other's change.
func TestChangesOfSeveral(t *testing.T) {
	client := fake.NewClientset()
	var mu sync.Mutex
	conflicts := 0
	client.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		if conflicts++; conflicts == 1 {
			return true, nil, apierrors.NewConflict(corev1.Resource("configmaps"), "x", nil)
		}
		return false, nil, nil
	})
	s := Store{client.CoreV1().ConfigMaps("fleet"), "app", "production"}
	if r, err := s.Read(t.Context()); r != nil || err != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	for want := 1; want < 3; want++ {
		r, err := s.Change(t.Context(), func(r *Record) (*Record, error) {
			if r == nil {
				r = &Record{State: Rolling, Waves: 3, Version: "1.0.0"}
			}
			r.Passed()
			return r, nil
		})
		if err != nil || r.Done != want || r.App != "app" || r.Target != "production" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if conflicts != 2 {
		t.Errorf("%d updates were tried", conflicts)
	}
	// What does not change is not written.
	if _, err := s.Change(t.Context(), func(r *Record) (*Record, error) { return r, nil }); err != nil || conflicts != 2 {
		t.Errorf("%d updates, %v", conflicts, err)
	}
	if err := s.Forget(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Forget(t.Context()); err != nil {
		t.Errorf("what is gone: %v", err)
	}
}

// Anybody may write a ConfigMap.
func TestBrokenRecord(t *testing.T) {
	for _, text := range []string{"", "{", `{"state":"flying"}`, `{"state":"rolling","done":4,"waves":3}`, `{"state":"rolling","done":-1}`} {
		client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet", Name: "harmony-app.production"}, Data: map[string]string{"rollout": text}})
		_, err := Store{client.CoreV1().ConfigMaps("fleet"), "app", "production"}.Read(context.Background())
		if err == nil || !strings.Contains(err.Error(), "ConfigMap fleet/harmony-app.production") || protocol.HintOf(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"app":"a","target":"t","version":"1.0.0","state":"waiting","since":"2026-11-28T12:00:00Z","done":1,"waves":3,"until":"2026-11-28T12:30:00Z"}`)
	f.Add(`{"state":"done"}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parse(text)
		if err != nil {
			return
		}
		_ = r.String()
		again, err := json.Marshal(r)
		if err != nil {
			return // JSON has no form for such a year
		}
		if _, err := parse(string(again)); err != nil {
			t.Errorf("%q, then %q: %v", text, again, err)
		}
	})
}
