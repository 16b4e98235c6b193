package smoke

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// clustersOf plays API servers whose one service answers with these statuses,
// and counts the requests. It returns a kubeconfig with the contexts a, b, …
func clustersOf(t *testing.T, statuses ...int) (kubeconfig string, contexts []string, requests []*atomic.Int64) {
	t.Helper()
	var clusters, places strings.Builder
	for i, status := range statuses {
		name, count := string(rune('a'+i)), new(atomic.Int64)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			count.Add(1)
			if !strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/fleet/services/") {
				http.NotFound(w, r)
				return
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(server.Close)
		contexts, requests = append(contexts, name), append(requests, count)
		fmt.Fprintf(&clusters, "- {name: %s, cluster: {server: %q}}\n", name, server.URL)
		fmt.Fprintf(&places, "- {name: %[1]s, context: {cluster: %[1]s}}\n", name)
	}
	kubeconfig = filepath.Join(t.TempDir(), "config")
	text := "apiVersion: v1\nkind: Config\nclusters:\n" + clusters.String() + "contexts:\n" + places.String()
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig, contexts, requests
}

// checkClusters checks an app on them all.
func checkClusters(t *testing.T, kubeconfig string, contexts []string, env capability.Environment, checks ...protocol.SmokeCheck) (protocol.SmokeReport, error) {
	t.Helper()
	env.Progress = func(protocol.Event) {}
	env.Topology = protocol.Topology{Targets: map[string]protocol.Target{
		"production": {MultiCluster: &protocol.MultiCluster{Contexts: contexts, Namespace: "fleet"}},
	}}
	c, err := New(&conn.Flags{Kubeconfig: kubeconfig}, nil)(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return c.Check(t.Context(), appWith(checks...), "production")
}

// inside is a check through a cluster.
func inside(name string) protocol.SmokeCheck {
	return protocol.SmokeCheck{
		Name: name, HTTP: &protocol.HTTPCheck{Service: "app", Port: 80, Path: "/"},
		Timeout: protocol.Duration(300 * time.Millisecond), Interval: quick,
	}
}

// ends are the checks as cluster/name:status.
func ends(report protocol.SmokeReport) string {
	var all []string
	for _, c := range report.Checks {
		all = append(all, fmt.Sprintf("%s/%s:%s", c.Cluster, c.Name, c.Status))
	}
	return strings.Join(all, " ")
}

func TestChecksOnEveryCluster(t *testing.T) {
	kubeconfig, contexts, _ := clustersOf(t, 200, 200)
	url, requests := answering(t, 200)
	report, err := checkClusters(t, kubeconfig, contexts, capability.Environment{}, get("site", url), inside("ready"), inside("again"))
	if err != nil || !report.Passed || report.Target != "production" {
		t.Fatalf("%+v, %v", report, err)
	}
	if got, want := ends(report), "a/ready:passed a/again:passed b/ready:passed b/again:passed /site:passed"; got != want {
		t.Errorf("checks %s, want %s", got, want)
	}
	if requests.Load() != 1 {
		t.Errorf("the site was asked %d times: it is in no cluster", requests.Load())
	}
}

func TestWhatRunsOnceComesLast(t *testing.T) {
	kubeconfig, contexts, requests := clustersOf(t, 200)
	url, _ := answering(t, 200)
	_, err := checkClusters(t, kubeconfig, contexts, capability.Environment{}, get("site", url), needing(inside("ready"), "site"))
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "cannot need site") || requests[0].Load() != 0 {
		t.Errorf("%v after %d requests", err, requests[0].Load())
	}
}

func TestOneClusterFails(t *testing.T) {
	kubeconfig, contexts, requests := clustersOf(t, 200, 418, 200)
	url, site := answering(t, 200)
	report, err := checkClusters(t, kubeconfig, contexts, capability.Environment{}, inside("ready"), needing(inside("again"), "ready"), get("site", url))
	if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "production (b)") || !strings.Contains(err.Error(), "418") {
		t.Errorf("%v with status %d", err, protocol.ExitCode(err))
	}
	want := "a/ready:passed a/again:passed b/ready:failed b/again:skipped c/ready:passed c/again:passed /site:skipped"
	if got := ends(report); got != want || report.Passed {
		t.Errorf("checks %s, want %s", got, want)
	}
	if site.Load() != 0 || requests[2].Load() == 0 {
		t.Errorf("the site was asked %d times, c %d times", site.Load(), requests[2].Load())
	}

	kubeconfig, contexts, _ = clustersOf(t, 418, 200, 418)
	_, err = checkClusters(t, kubeconfig, contexts, capability.Environment{}, inside("ready"))
	if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "2 of 3 clusters") || !strings.Contains(err.Error(), "(c)") {
		t.Errorf("%v", err)
	}
}

func TestClustersPlannedAndInvalid(t *testing.T) {
	kubeconfig, contexts, requests := clustersOf(t, 200, 200)
	report, err := checkClusters(t, kubeconfig, contexts, capability.Environment{DryRun: true}, inside("ready"))
	if err != nil || !report.Planned || ends(report) != "a/ready:skipped b/ready:skipped" || requests[0].Load() != 0 {
		t.Errorf("planned: %+v, %v", report, err)
	}
	bad := inside("bad")
	bad.HTTP.Expect.JSON = []protocol.JSONExpect{{Path: "{"}}
	if _, err := checkClusters(t, kubeconfig, contexts, capability.Environment{}, inside("ready"), bad); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "spec.smoke[1]") {
		t.Errorf("invalid: %v", err)
	}
	if _, err := checkClusters(t, kubeconfig, append(contexts, "gone"), capability.Environment{}, inside("ready")); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("no such context: %v", err)
	}
	if requests[0].Load() != 0 {
		t.Error("something was asked although the input is invalid")
	}
}
