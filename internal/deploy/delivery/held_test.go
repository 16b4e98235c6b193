package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/pkg/protocol"
)

func connection() *conn.Conn {
	return &conn.Conn{Context: "prod", Namespace: "fleet", Config: &rest.Config{Host: "https://one:6443"}}
}

// A dry run asks nothing of the server: no Lease, no namespace, no work.
func TestDryRunTouchesNothing(t *testing.T) {
	client := fake.NewClientset()
	c := Change{
		Conn: connection(), Leases: client.CoordinationV1().Leases("fleet"), Release: "app", DryRun: true,
		Progress: func(e protocol.Event) { t.Errorf("event %v", e) },
		Plan:     func(context.Context) (protocol.DeployResult, error) { return protocol.DeployResult{Planned: true}, nil },
		Prepare:  func(context.Context) error { return errors.New("prepared") },
		Work: func(context.Context, bool) (protocol.DeployResult, error) {
			return protocol.DeployResult{}, errors.New("worked")
		},
	}
	if result, err := c.Run(t.Context(), t.Context()); err != nil || !result.Planned || len(client.Actions()) > 0 {
		t.Errorf("%+v, %v, after %v", result, err, client.Actions())
	}
}

func TestChangeIsUnderTheLease(t *testing.T) {
	client := fake.NewClientset()
	leases := client.CoordinationV1().Leases("fleet")
	var order []string
	c := Change{
		Conn: connection(), Leases: leases, Release: "app", What: "release app",
		Progress: func(e protocol.Event) { order = append(order, e.Phase+" "+e.Message) },
		Prepare:  func(context.Context) error { order = append(order, "prepare"); return nil },
		Work: func(ctx context.Context, inherited bool) (protocol.DeployResult, error) {
			_, err := leases.Get(ctx, lease.Name("app"), metav1.GetOptions{})
			order = append(order, fmt.Sprint("work ", inherited))
			return protocol.DeployResult{Release: "app"}, err
		},
	}
	result, err := c.Run(t.Context(), t.Context())
	if want := "[target context prod, server https://one:6443, namespace fleet prepare work false]"; err != nil || result.Release != "app" || fmt.Sprint(order) != want {
		t.Errorf("%+v, %v, in order %v, want %s", result, err, order, want)
	}
	if _, err := leases.Get(t.Context(), lease.Name("app"), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the lease is still there: %v", err)
	}
}

// A server that answers with an error time and again is asked a few times and not
// for ever; one whose admission webhook is broken, once.
func TestRetryEnds(t *testing.T) {
	broken := apierrors.NewInternalError(errors.New("etcdserver: no leader"))
	for name, c := range map[string]struct {
		err     error
		atMost  time.Duration
		calls   int
		retries bool
	}{
		"a broken webhook": {apierrors.NewInternalError(errors.New(`failed calling webhook "x": bad answer`)), time.Hour, 1, false},
		"a server error":   {broken, 350 * time.Millisecond, 2, true},
		"not passing":      {apierrors.NewBadRequest("no"), time.Hour, 1, false},
		"said to pass":     {protocol.Retryable("busy"), 350 * time.Millisecond, 2, true},
	} {
		calls, waits := 0, 0
		err := Retry(t.Context(), connection(), c.atMost, func(protocol.Event) { waits++ }, func() error { calls++; return c.err })
		if !errors.Is(err, c.err) || calls < c.calls || calls > c.calls+1 && c.retries || calls > 1 && !c.retries || waits > 0 != c.retries {
			t.Errorf("%s: %v after %d calls, %d events", name, err, calls, waits)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Retry(ctx, connection(), time.Hour, func(protocol.Event) {}, func() error { return broken }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the context's end", err)
	}
	fails := 2
	if err := Retry(t.Context(), connection(), time.Hour, func(protocol.Event) {}, func() error {
		if fails--; fails < 0 {
			return nil
		}
		return broken
	}); err != nil {
		t.Errorf("a server that came back: %v", err)
	}
}

func TestErrorsKeepTheirStatus(t *testing.T) {
	plain, passing := errors.New("the pods crash"), protocol.Retryable("the server is away")
	err := Also(plain, "and the rollback failed", passing)
	if protocol.ExitCode(err) != protocol.ExitFailed || !errors.Is(err, passing) || !errors.Is(err, plain) || err.Error() != "the pods crash\nand the rollback failed: the server is away" {
		t.Errorf("%v, status %d", err, protocol.ExitCode(err))
	}
	if err := Also(passing, "x", plain); protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("%v, status %d", err, protocol.ExitCode(err))
	}
	invalid := protocol.Invalid("no such version").WithHint("it has 1.0.0")
	for _, errs := range [][]error{{nil, passing, invalid}, {invalid, nil, passing}} {
		if err := Worst(errs); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("%v: status %d", errs, protocol.ExitCode(err))
		}
	}
	if err := Worst([]error{nil, nil}); err != nil {
		t.Errorf("%v of nothing", err)
	}
}

func TestExplain(t *testing.T) {
	late, cancelled := context.DeadlineExceeded, errors.New("cut off")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		code int
		text string
	}{
		{t.Context(), fmt.Errorf("rollout: %w", late), protocol.ExitFailed, "deploy app to x: not done after 1m0s: rollout"},
		{over, cancelled, protocol.ExitInterrupted, "deploy app to x: context canceled\ncut off"},
		{t.Context(), protocol.Invalid("told"), protocol.ExitInvalid, "told"},
		{t.Context(), apierrors.NewServiceUnavailable("x"), protocol.ExitRetryable, "API server https://one:6443"},
	} {
		err := Explain(c.ctx, connection(), "deploy app to x", time.Minute, c.err)
		if protocol.ExitCode(err) != c.code || !strings.HasPrefix(err.Error(), c.text) {
			t.Errorf("%v, status %d, want %q", err, protocol.ExitCode(err), c.text)
		}
	}
	if err := Explain(t.Context(), connection(), "x", time.Minute, nil); err != nil {
		t.Error(err)
	}
}
