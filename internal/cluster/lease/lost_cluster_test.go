package lease

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/clustertest"
)

// A lease that is taken away ends the work.
func TestLostLeaseEndsTheWork(t *testing.T) {
	c := clustertest.Config(t)
	leases := c.Client.CoordinationV1().Leases(c.Namespace(t))
	l, err := Acquire(t.Context(), leases, "app", func(string, time.Time) {})
	if err != nil {
		t.Fatal(err)
	}
	held, stop := l.Hold(t.Context())
	defer stop()
	if err := leases.Delete(t.Context(), Name("app"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-held.Done():
		if cause := context.Cause(held); !errors.Is(cause, ErrLost) {
			t.Errorf("the work ended by %v", cause)
		}
	case <-time.After(2 * renewal):
		t.Fatal("the work goes on without the lease")
	}
}
