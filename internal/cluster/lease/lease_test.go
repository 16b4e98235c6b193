package lease

import (
	"os"
	"os/exec"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestHolderRoundTrip(t *testing.T) {
	h := process(os.Getpid())
	parsed, ok := parseHolder(h.String())
	if !ok || parsed != h {
		t.Errorf("%+v reads back as %+v, %t", h, parsed, ok)
	}
	for _, foreign := range []string{"", "somebody", "a/b/c/d/e/f", "a/b/c/1/e"} {
		if _, ok := parseHolder(foreign); ok {
			t.Errorf("%q is taken for a holder of ours", foreign)
		}
	}
}

func TestHolderIsDead(t *testing.T) {
	if boot, _ := machine(); boot == "" {
		t.Skip("this system does not tell processes apart")
	}
	self := process(os.Getpid())
	if self.dead() {
		t.Error("this process is taken for dead")
	}
	for name, change := range map[string]func(*holder){
		"another start":      func(h *holder) { h.start = "1" },
		"no such process":    func(h *holder) { h.pid = 1 << 30 },
		"a zombie, unwaited": func(h *holder) { h.pid = zombie(t) },
	} {
		h := self
		change(&h)
		if !h.dead() {
			t.Errorf("%s: it is taken for alive", name)
		}
	}
	for name, change := range map[string]func(*holder){
		"another kernel":            func(h *holder) { h.boot, h.pid = "other", 1<<30 },
		"another process namespace": func(h *holder) { h.pids, h.pid = "1", 1<<30 },
		"a system that tells none":  func(h *holder) { h.start, h.pid = "", 1<<30 },
		"no process at all":         func(h *holder) { h.pid = -1 },
	} {
		h := self
		change(&h)
		if h.dead() {
			t.Errorf("%s: it is taken for dead without proof", name)
		}
	}
}

// zombie is a process that has ended and is not waited for until the test ends.
func zombie(t *testing.T) int {
	t.Helper()
	c := exec.Command("true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	})
	deadline := time.Now().Add(5 * time.Second)
	for {
		if _, gone := startOf(c.Process.Pid); gone {
			return c.Process.Pid
		}
		if time.Now().After(deadline) {
			t.Fatal("true does not end")
		}
	}
}

func TestLeaseIsOver(t *testing.T) {
	now := time.Now()
	alive, dead := process(os.Getpid()), process(os.Getpid())
	dead.start = "1"
	lease := func(holder string, renewed time.Time) *coordinationv1.Lease {
		return &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{ResourceVersion: "1"},
			Spec: coordinationv1.LeaseSpec{
				HolderIdentity: &holder, LeaseDurationSeconds: new(int32(15)), RenewTime: new(metav1.NewMicroTime(renewed)),
			},
		}
	}
	for _, c := range []struct {
		name  string
		lease *coordinationv1.Lease
		seen  observation
		over  bool
	}{
		{"given back", lease("", now), observation{}, true},
		{"never renewed", &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: new("x")}}, observation{}, true},
		{"alive", lease(alive.String(), now), observation{}, false},
		{"dead", lease(dead.String(), now), observation{}, true},
		{"elsewhere, fresh", lease("other/b/c/1/2/r", now), observation{}, false},
		{"elsewhere, late, but clocks differ", lease("other/b/c/1/2/r", now.Add(-20*time.Second)), observation{}, false},
		{"elsewhere, long over, or its clock is behind", lease("other/b/c/1/2/r", now.Add(-time.Hour)), observation{}, false},
		{"elsewhere, long over, did not move", lease("other/b/c/1/2/r", now.Add(-time.Hour)), observation{version: "1", at: now.Add(-16 * time.Second), holder: "other"}, true},
		{"clock ahead, did not move", lease("other/b/c/1/2/r", now.Add(time.Hour)), observation{version: "1", at: now.Add(-16 * time.Second), holder: "other"}, true},
		{"clock ahead, moved", lease("other/b/c/1/2/r", now.Add(time.Hour)), observation{version: "0", at: now.Add(-16 * time.Second)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if over := c.seen.over(c.lease, now); over != c.over {
				t.Errorf("over %t, want %t", over, c.over)
			}
		})
	}
}

func FuzzParseHolder(f *testing.F) {
	f.Add(process(os.Getpid()).String())
	f.Add("////1/")
	f.Fuzz(func(t *testing.T, s string) {
		h, ok := parseHolder(s)
		if again, same := parseHolder(h.String()); ok && (!same || again != h) {
			t.Errorf("%q reads as %+v, which reads back as %+v", s, h, again)
		}
	})
}
