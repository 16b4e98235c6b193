package smoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/job"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// jobCheck is a check that runs the program of testdata/server, which ends when it is told so.
func jobCheck(timeout time.Duration, spec protocol.JobSpec) protocol.SmokeCheck {
	return protocol.SmokeCheck{Name: "orders are in order", Job: &spec, Timeout: protocol.Duration(timeout), Interval: protocol.Duration(time.Hour)} // it is tried once
}

// left are the Jobs of the namespace that are not being deleted.
func (w world) left(t *testing.T) (names []string) {
	t.Helper()
	var list batchv1.JobList
	if err := w.get(t.Context(), jobs, "jobs", nil, &list); err != nil {
		t.Fatal(err)
	}
	for _, j := range list.Items {
		if j.DeletionTimestamp == nil {
			names = append(names, j.Name)
		}
	}
	return names
}

func TestClusterJob(t *testing.T) {
	w := newWorld(t)
	w.deploy(t, "fleet", w.image)
	w.send(t, "POST", "/api/v1/namespaces/"+w.Namespace+"/secrets", object{"metadata": object{"name": "words"}, "stringData": object{"say": "from a secret"}})
	says := func(args ...string) protocol.JobSpec { return protocol.JobSpec{Args: args} }
	named := says("end", "0", "another image")
	named.Image = w.image
	secret := says("end", "4")
	secret.EnvRefs = map[string]protocol.EnvRef{"SAY": {Secret: "words", Key: "say"}}
	missing := says("end", "0")
	missing.EnvRefs = map[string]protocol.EnvRef{"SAY": {Secret: "none", Key: "say"}}
	large := says("end", "0")
	large.Resources = &protocol.Resources{Requests: map[string]string{"memory": "900Ti"}}
	account := says("end", "0")
	account.ServiceAccountName = "nobody"
	tests := map[string]struct {
		spec    protocol.JobSpec
		timeout time.Duration
		code    int
		message string
		within  time.Duration
	}{
		"passes":           {says("end", "0", "7 orders"), time.Minute, 0, "7 orders", time.Minute},
		"any image":        {named, time.Minute, 0, "another image", time.Minute},
		"fails":            {secret, time.Minute, protocol.ExitSmoke, "exit code 4: from a secret", time.Minute},
		"does not end":     {says("sleep"), 12 * time.Second, protocol.ExitSmoke, "has not ended in time: sleeping", time.Minute},
		"no such image":    {protocol.JobSpec{Image: clustertest.Registry(t) + "/harmony-test/smoke:no-such-tag"}, 3 * time.Minute, protocol.ExitSmoke, "does not start: pod fleet-check-", time.Minute},
		"no such secret":   {missing, 3 * time.Minute, protocol.ExitSmoke, `secret "none" not found`, time.Minute},
		"no node for it":   {large, 3 * time.Minute, protocol.ExitSmoke, "has no node: ", time.Minute},
		"no such account":  {account, 3 * time.Minute, protocol.ExitSmoke, `serviceaccount "nobody" not found`, time.Minute},
		"not a valid name": {protocol.JobSpec{Image: "A//b"}, 3 * time.Minute, protocol.ExitSmoke, "InvalidImageName", time.Minute},
	}
	t.Run("each", func(t *testing.T) {
		for name, c := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				begin := time.Now()
				check := jobCheck(c.timeout, c.spec)
				check.Name = name
				report, err := w.check(t, check)
				if code := protocol.ExitCode(err); code != c.code || !strings.Contains(report.Checks[0].Message, c.message) {
					t.Errorf("%+v, %v; want status %d and %q", report, err, c.code, c.message)
				}
				if took := time.Since(begin); took > c.within {
					t.Errorf("it took %s", took)
				}
				t.Logf("%s: %s", time.Since(begin).Round(time.Millisecond), report.Checks[0].Message)
			})
		}
	})
	w.await(t, 0)
}

// A cancelled check, and one that was killed, leave nothing behind, the latter after the next
// run; and two at once share one Job.
func TestClusterJobIsCleanedUp(t *testing.T) {
	w := newWorld(t)
	check := jobCheck(time.Minute, protocol.JobSpec{Image: w.image, Args: []string{"sleep"}})
	run := func(ctx context.Context) error { return runCheck(ctx, clustertest.Kubeconfig(t), w.Namespace, check) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 2)
	for range 2 {
		go func() { ended <- run(ctx) }()
	}
	w.await(t, 1)
	cancel()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	w.await(t, 0)
	// What a killed run has left: a Job of the same check, of another image.
	labels := object{"app.kubernetes.io/managed-by": "harmony", "harmony.nationtech.io/app": "fleet", "harmony.nationtech.io/check": job.Labels("fleet", check.Name)["harmony.nationtech.io/check"]}
	w.send(t, "POST", "/apis/batch/v1/namespaces/"+w.Namespace+"/jobs", object{
		"metadata": object{"name": "fleet-check-old", "labels": labels},
		"spec": object{"template": object{"metadata": object{"labels": labels}, "spec": object{
			"restartPolicy": "Never", "containers": []object{{"name": "job", "image": w.image, "args": []string{"sleep"}}},
		}}},
	})
	check.Job.Args = []string{"end", "0"}
	if err := run(t.Context()); err != nil {
		t.Error(err)
	}
	w.await(t, 0)
}

// await waits until there are so many Jobs.
func (w world) await(t *testing.T, n int) {
	t.Helper()
	var names []string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if names = w.left(t); len(names) == n {
			return
		}
	}
	t.Fatalf("there are the jobs %q, want %d", names, n)
}

// runCheck runs one check of the app fleet, as harmony-smoke does.
func runCheck(ctx context.Context, kubeconfig, namespace string, check protocol.SmokeCheck) error {
	checker := &checker{flags: &conn.Flags{Kubeconfig: kubeconfig}, env: capability.Environment{
		Progress: func(protocol.Event) {},
		Topology: protocol.Topology{Targets: map[string]protocol.Target{"staging": {InCluster: &protocol.InCluster{Namespace: namespace}}}},
	}}
	app := appWith(check)
	app.Name = "fleet"
	_, err := checker.Check(ctx, app, "staging")
	return err
}

const (
	killedCheck     = "HARMONY_TEST_CHECK"
	killedNamespace = "HARMONY_TEST_CHECK_NAMESPACE"
)

// TestMain makes the test binary the process that is killed in the middle of a check as well.
func TestMain(m *testing.M) {
	text := os.Getenv(killedCheck)
	if text == "" {
		os.Exit(m.Run())
	}
	var check protocol.SmokeCheck
	err := json.Unmarshal([]byte(text), &check)
	if err == nil {
		err = runCheck(context.Background(), os.Getenv("HARMONY_TEST_KUBECONFIG"), os.Getenv(killedNamespace), check)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A process that is killed while the Job of a check runs leaves it, and the next run of the
// check removes it.
func TestClusterJobOfAKilledProcess(t *testing.T) {
	w := newWorld(t)
	check := jobCheck(2*time.Minute, protocol.JobSpec{Image: w.image, Args: []string{"sleep"}})
	text, err := json.Marshal(check)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = append(os.Environ(), killedCheck+"="+string(text), killedNamespace+"="+w.Namespace)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	w.await(t, 1)
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Fatalf("it ended by itself: %v", err)
	}
	if left := w.left(t); len(left) != 1 {
		t.Fatalf("there are the jobs %q, want the one that was left", left)
	}
	check.Job.Args = []string{"end", "0"}
	if err := runCheck(t.Context(), clustertest.Kubeconfig(t), w.Namespace, check); err != nil {
		t.Error(err)
	}
	w.await(t, 0)
}
