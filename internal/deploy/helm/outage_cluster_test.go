package helm

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestRolloutSurvivesAnOutage(t *testing.T) {
	w := newWorld(t)
	g := w.cluster.Gate(t)
	// Ready only after the outage.
	w.replaceTemplate("path: /}", "path: /}, initialDelaySeconds: 12")
	var once sync.Once
	w.on = func(e protocol.Event) {
		if e.Phase == "rollout" {
			once.Do(func() {
				g.Shut()
				time.AfterFunc(10*time.Second, g.Open)
			})
		}
	}
	a := w.adapterWith(&conn.Flags{Kubeconfig: w.cluster.Kubeconfig, Server: g.URL, ServerName: g.ServerName})
	chart := w.pack()
	result, err := a.Deploy(t.Context(), w.spec(), "test", w.image, chart)
	if err != nil {
		t.Fatal(err)
	}
	once.Do(func() { t.Error("there was no outage") })
	if result.Outcome != protocol.OutcomeInstalled {
		t.Errorf("outcome %s, want installed", result.Outcome)
	}
	w.noLease()
}

func TestUnreachableServer(t *testing.T) {
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	a := w.adapterWith(&conn.Flags{Kubeconfig: w.cluster.Kubeconfig, Server: "https://" + address})
	_, err = a.Deploy(t.Context(), w.spec(), "test", w.image, w.pack())
	t.Logf("%v", err)
	if protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("exit code %d, want %d", protocol.ExitCode(err), protocol.ExitRetryable)
	}
}
