package deploytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// killed is the input of the process that a test kills.
type killed struct {
	Kubeconfig, Namespace, Adapter string
	Settings                       map[string]any
	App                            protocol.AppSpec
	Metadata                       protocol.Metadata
	Image                          protocol.ImageRef
	Chart                          protocol.ChartRef
	// Remove makes it an uninstall, and Migrate a run of the migrations.
	Remove, Migrate bool
	Adopt           capability.Adoption
}

const killedVariable = "HARMONY_TEST_DEPLOY"

// Main is for a package's TestMain: it makes the test binary the process that is
// killed as well. It returns the exit status.
func Main(m *testing.M, make delivery.Constructor) int {
	if input := os.Getenv(killedVariable); input != "" {
		return deployOnce(make, input)
	}
	return m.Run()
}

func deployOnce(make delivery.Constructor, input string) int {
	var k killed
	if err := json.Unmarshal([]byte(input), &k); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	k.App.Metadata = k.Metadata
	env := environment(k.Adapter, k.Namespace, k.Settings, false, func(protocol.Event) {})
	env.Adopt = k.Adopt
	a, err := make(&conn.Flags{Kubeconfig: k.Kubeconfig})(context.Background(), env)
	switch {
	case err != nil:
	case k.Remove:
		_, err = a.Remove(context.Background(), k.App, Target)
	case k.Migrate:
		_, err = a.Migrate(context.Background(), k.App, Target, k.Image, k.Chart)
	default:
		_, err = a.Deploy(context.Background(), k.App, Target, k.Image, k.Chart)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// KillAfter runs a deploy in another process and kills it after a while.
func (w *World) KillAfter(while time.Duration) {
	w.T.Helper()
	w.kill(killed{}, func() { time.Sleep(while) })
}

// KillRemoveAfter runs an uninstall in another process and kills it after a while.
func (w *World) KillRemoveAfter(while time.Duration) {
	w.T.Helper()
	w.kill(killed{Remove: true}, func() { time.Sleep(while) })
}

// kill runs what the input says in another process, and kills it after wait.
func (w *World) kill(k killed, wait func()) {
	w.T.Helper()
	spec := w.Spec()
	k.Kubeconfig, k.Namespace, k.Adapter, k.Settings, k.Adopt = w.Cluster.Kubeconfig, w.Namespace, w.name, w.Settings, w.Adopt
	k.App, k.Metadata, k.Image, k.Chart = spec, spec.Metadata, w.Image, w.Chart()
	input, err := json.Marshal(k)
	if err != nil {
		w.T.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		w.T.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = append(os.Environ(), killedVariable+"="+string(input))
	if err := command.Start(); err != nil {
		w.T.Fatal(err)
	}
	start := time.Now()
	wait()
	if err := command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.T.Fatal(err)
	}
	err = command.Wait()
	w.T.Logf("killed after %s: %v", time.Since(start).Round(time.Millisecond), err)
}
