package smoke

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// world is a namespace of the test cluster with the app of testdata/server.
type world struct {
	*cluster
	image string
}

func newWorld(t *testing.T) world {
	t.Helper()
	kubeconfig := clustertest.Kubeconfig(t)
	w := world{image: pushServer(t, clustertest.Registry(t))}
	namespace := fmt.Sprintf("smoke-%s-%d", strings.ToLower(t.Name()), time.Now().UnixNano())
	namespace = strings.NewReplacer("/", "-", "_", "-").Replace(namespace)
	topology := protocol.Topology{Targets: map[string]protocol.Target{"staging": {InCluster: &protocol.InCluster{Namespace: namespace}}}}
	conn, err := conn.Connect(&conn.Flags{Kubeconfig: kubeconfig}, topology, "staging")
	if err != nil {
		t.Fatal(err)
	}
	if w.cluster, err = newCluster(conn); err != nil {
		t.Fatal(err)
	}
	w.send(t, "POST", "/api/v1/namespaces", object{"metadata": object{"name": namespace}})
	t.Cleanup(func() { w.send(t, "DELETE", "/api/v1/namespaces/"+namespace, nil) })
	return w
}

type object map[string]any

// send changes something in the cluster.
func (w world) send(t *testing.T, method, path string, body any) {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, w.server+path, bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if method == "PATCH" {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
}

// deploy creates a Deployment and its Service with ports for HTTP (80), a
// silent listener (90), gRPC (60) and nothing at all (70).
func (w world) deploy(t *testing.T, name, image string) {
	t.Helper()
	labels := object{"app.kubernetes.io/name": name, "app.kubernetes.io/instance": name}
	w.send(t, "POST", "/apis/apps/v1/namespaces/"+w.Namespace+"/deployments", object{
		"metadata": object{"name": name, "labels": labels},
		"spec": object{"selector": object{"matchLabels": labels}, "template": object{
			"metadata": object{"labels": labels},
			"spec": object{"terminationGracePeriodSeconds": 0, "containers": []object{{
				"name": "server", "image": image,
				"readinessProbe": object{"httpGet": object{"path": "/", "port": 8080}, "periodSeconds": 1},
			}}},
		}},
	})
	w.send(t, "POST", "/api/v1/namespaces/"+w.Namespace+"/services", object{
		"metadata": object{"name": name},
		"spec": object{"selector": labels, "ports": []object{
			{"name": "web", "port": 80, "targetPort": 8080}, {"name": "raw", "port": 90, "targetPort": 9090}, {"name": "none", "port": 70, "targetPort": 7070},
			{"name": "grpc", "port": 60, "targetPort": 9000},
		}},
	})
}

// workload creates a workload that is known to be of the release fleet by
// Helm's annotation only.
func (w world) workload(t *testing.T, resource, name string) {
	t.Helper()
	labels := object{"app.kubernetes.io/name": name}
	w.send(t, "POST", "/apis/apps/v1/namespaces/"+w.Namespace+"/"+resource, object{
		"metadata": object{"name": name, "annotations": object{releaseAnnotation: "fleet"}},
		"spec": object{"selector": object{"matchLabels": labels}, "template": object{
			"metadata": object{"labels": labels},
			"spec":     object{"terminationGracePeriodSeconds": 0, "containers": []object{{"name": "server", "image": w.image}}},
		}},
	})
}

// check runs checks of the app fleet against the namespace.
func (w world) check(t *testing.T, checks ...protocol.SmokeCheck) (protocol.SmokeReport, error) {
	t.Helper()
	return w.checkAs(t, "", checks...)
}

// checkAs is check with the rights of another user.
func (w world) checkAs(t *testing.T, user string, checks ...protocol.SmokeCheck) (protocol.SmokeReport, error) {
	t.Helper()
	checker := &checker{flags: &conn.Flags{Kubeconfig: clustertest.Kubeconfig(t), As: user}, env: capability.Environment{
		Progress: func(protocol.Event) {},
		Topology: protocol.Topology{Targets: map[string]protocol.Target{"staging": {InCluster: &protocol.InCluster{Namespace: w.Namespace}}}},
	}}
	app := appWith(checks...)
	app.Name, app.Image.Repository = "fleet", "smoke" // harmony-test/smoke, without the registry's prefix
	return checker.Check(t.Context(), app, "staging")
}

// pushServer builds testdata/server for the cluster and pushes its image.
func pushServer(t *testing.T, registry string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "server")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./testdata/server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the server: %v\n%s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	image := imageOf(t, content)
	reference, err := name.ParseReference(registry+"/harmony-test/smoke:latest", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return reference.Context().Name() + "@" + digest.String()
}

// imageOf is an image with one program.
func imageOf(t *testing.T, program []byte) v1.Image {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "server", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config.Entrypoint = "linux", runtime.GOARCH, []string{"/server"}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}

// proxied is a check of the app through the service proxy.
func proxied(name string, http protocol.HTTPCheck) protocol.SmokeCheck {
	if http.Service == "" {
		http.Service = "fleet"
	}
	return protocol.SmokeCheck{Name: name, HTTP: &http, Timeout: protocol.Duration(1500 * time.Millisecond), Interval: 10 * quick}
}

func forwarded(name string, tcp protocol.TCPCheck) protocol.SmokeCheck {
	return protocol.SmokeCheck{Name: name, TCP: &tcp, Timeout: protocol.Duration(3 * time.Second), Interval: 10 * quick}
}

func healthy(grpc protocol.GRPCCheck) protocol.SmokeCheck {
	grpc.Service = "fleet"
	return protocol.SmokeCheck{Name: "health", GRPC: &grpc, Timeout: protocol.Duration(3 * time.Second), Interval: 10 * quick}
}

var fleetLabel = map[string]string{instanceLabel: "fleet"}

// objects is a check of Deployments where it does not say otherwise.
func objects(resource protocol.ResourceCheck) protocol.SmokeCheck {
	if resource.APIVersion = cmp.Or(resource.APIVersion, "apps/v1"); resource.Kind == "" {
		resource.Kind = "Deployment"
	}
	return protocol.SmokeCheck{Name: "objects", Resource: &resource, Timeout: protocol.Duration(time.Second), Interval: 10 * quick}
}

func rollout(workload string, timeout time.Duration) protocol.SmokeCheck {
	return protocol.SmokeCheck{
		Name: "ready", Rollout: &protocol.RolloutCheck{Workload: workload},
		Timeout: protocol.Duration(timeout), Interval: 10 * quick,
	}
}

// A cluster that does not let us look says nothing about the app: no failed
// check, and no minute of trying.
func TestClusterForbids(t *testing.T) {
	w := newWorld(t)
	for _, check := range []protocol.SmokeCheck{
		rollout("", time.Minute), proxied("p", protocol.HTTPCheck{Port: 80}), forwarded("p", protocol.TCPCheck{Service: "fleet"}),
	} {
		report, err := w.checkAs(t, "nobody", check)
		if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "forbidden") || report.Checks[0].Attempts != 1 {
			t.Errorf("report %+v, error %v; want one attempt that is forbidden", report, err)
		}
	}
}

// TestClusterNoticesUpdate changes the image to one that does not exist: the
// old pod still serves, which is no finished rollout.
func TestClusterNoticesUpdate(t *testing.T) {
	w := newWorld(t)
	w.deploy(t, "fleet", w.image)
	if _, err := w.check(t, rollout("", 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	w.send(t, "PATCH", "/apis/apps/v1/namespaces/"+w.Namespace+"/deployments/fleet", object{"spec": object{"template": object{
		"spec": object{"containers": []object{{"name": "server", "image": clustertest.Registry(t) + "/harmony-test/smoke:no-such-tag"}}},
	}}})
	report, err := w.check(t, rollout("", time.Second), proxied("still serving", protocol.HTTPCheck{}))
	if protocol.ExitCode(err) != protocol.ExitSmoke || report.Checks[0].Message != "deployment/fleet: old pods still there: 1" {
		t.Errorf("report %+v, error %v", report, err)
	}
}

// A line that is forbidden ends the check at once; one from before does not count.
func TestClusterLogs(t *testing.T) {
	w := newWorld(t)
	w.deploy(t, "fleet", w.image)
	writes := func(line string) protocol.SmokeCheck {
		check := proxied("write", protocol.HTTPCheck{Port: 80, Path: "/log?line=" + line})
		check.Timeout = protocol.Duration(30 * time.Second)
		return check
	}
	if _, err := w.check(t, rollout("", 30*time.Second), writes("panic:+before")); err != nil {
		t.Fatal(err)
	}
	logs := func(wait, since time.Duration) protocol.SmokeCheck {
		return protocol.SmokeCheck{
			Name: "logs", Logs: &protocol.LogsCheck{Forbid: []string{"^.*panic: (before|after)"}, Since: protocol.Duration(since)},
			For: protocol.Duration(wait), Timeout: protocol.Duration(time.Minute), Interval: 10 * quick,
		}
	}
	if report, err := w.check(t, logs(0, time.Minute)); protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "panic: before") || report.Checks[0].Attempts != 1 {
		t.Errorf("the minute before: %+v, %v", report, err)
	}
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(2 * time.Second))) // the API counts seconds
	if report, err := w.check(t, logs(300*time.Millisecond, 0)); err != nil || !strings.Contains(report.Checks[0].Message, "no forbidden line from 1 pods") {
		t.Errorf("nothing new: %+v, %v", report, err)
	}
	late := writes("panic:+after")
	late.Needs = []string{"first"}
	first := logs(0, 0)
	first.Name = "first"
	if report, err := w.check(t, first, logs(30*time.Second, 0), late); protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "panic: after") || statuses(report) != "passed failed passed" {
		t.Errorf("while it looked: %+v, %v", report, err)
	}
}

func TestCluster(t *testing.T) {
	w := newWorld(t)
	w.deploy(t, "fleet", w.image)
	w.deploy(t, "broken", clustertest.Registry(t)+"/harmony-test/smoke:no-such-tag")
	w.workload(t, "statefulsets", "fleet-db")
	w.workload(t, "daemonsets", "fleet-node")
	const complete = "deployment/fleet 1/1, statefulset/fleet-db 1/1, daemonset/fleet-node 1/1"
	if report, err := w.check(t, rollout("", 30*time.Second)); err != nil || report.Checks[0].Message != complete {
		t.Fatalf("report %+v, error %v", report, err)
	}
	json := func(path string, equals any) protocol.HTTPExpect {
		return protocol.HTTPExpect{JSON: []protocol.JSONExpect{{Path: path, Equals: equals}}}
	}
	tests := []struct {
		name    string
		check   protocol.SmokeCheck
		code    int
		message string
	}{
		{"rollout of a name", rollout("deploy/fleet", time.Second), 0, "deployment/fleet 1/1"},
		{"rollout that hangs", rollout("Deployment.apps/broken", time.Second), protocol.ExitSmoke, "deployment/broken: 0 of 1 pods available"},
		{"rollout of nothing", rollout("sts/fleet", time.Second), protocol.ExitSmoke, "no statefulset/fleet in namespace " + w.Namespace},
		{"first port", proxied("p", protocol.HTTPCheck{Path: "/", Expect: json("{.devices[0].id}", "edge-1")}), 0, "status 200"},
		{"no path", proxied("p", protocol.HTTPCheck{Port: 80, Expect: json("{.uri}", "/")}), 0, "status 200"},
		{"query", proxied("p", protocol.HTTPCheck{Port: 80, Path: "/a/%C3%A9?x=1&y=a%20b", Expect: json("{.uri}", "/a/%C3%A9?x=1&y=a%20b")}), 0, "GET /a/%C3%A9 of service fleet: status 200"},
		{"method, header, body", proxied("p", protocol.HTTPCheck{
			Port: 80, Method: "POST", Body: "hello", Headers: map[string]string{"X-Test": "7"},
			Expect: protocol.HTTPExpect{JSON: []protocol.JSONExpect{{Path: "{.method}", Equals: "POST"}, {Path: "{.body}", Equals: "hello"}, {Path: "{.header}", Equals: "7"}}},
		}), 0, "POST / of service fleet: status 200"},
		{"redirect", proxied("p", protocol.HTTPCheck{Port: 80, Path: "/away", Expect: protocol.HTTPExpect{Status: 302}}), 0, "status 302"},
		{"the service's own 404", proxied("p", protocol.HTTPCheck{Port: 80, Path: "/missing", Expect: protocol.HTTPExpect{Status: 404}}), 0, "status 404"},
		{"wrong JSON", proxied("p", protocol.HTTPCheck{Port: 80, Expect: json("{.devices[0].n}", 3)}), protocol.ExitSmoke, "JSON {.devices[0].n} is 2, expected 3"},
		{"no service", proxied("p", protocol.HTTPCheck{Service: "none", Port: 80, Expect: protocol.HTTPExpect{Status: 404}}), protocol.ExitSmoke, "no service none in namespace " + w.Namespace},
		{"no service, no port", proxied("p", protocol.HTTPCheck{Service: "none"}), protocol.ExitSmoke, "no service none in namespace " + w.Namespace},
		{"no such port", proxied("p", protocol.HTTPCheck{Port: 81}), protocol.ExitSmoke, "service fleet has no port 81"},
		{"no pod", proxied("p", protocol.HTTPCheck{Service: "broken", Port: 80, Expect: protocol.HTTPExpect{Status: 503}}), protocol.ExitSmoke, "no ready pod behind service broken"},
		{"nobody listens", proxied("p", protocol.HTTPCheck{Port: 70, Expect: protocol.HTTPExpect{Status: 503}}), protocol.ExitSmoke, "connection refused"},
		{"tcp that answers", forwarded("p", protocol.TCPCheck{Service: "fleet"}), 0, "service fleet: connected to pod fleet-"},
		{"tcp that is silent", forwarded("p", protocol.TCPCheck{Service: "fleet", Port: 90}), 0, "port 9090"},
		{"tcp refused", forwarded("p", protocol.TCPCheck{Service: "fleet", Port: 70}), protocol.ExitSmoke, "connection refused"},
		{"tcp without pod", forwarded("p", protocol.TCPCheck{Service: "broken", Port: 90}), protocol.ExitSmoke, "no ready pod behind service broken"},
		{"tcp without port", forwarded("p", protocol.TCPCheck{Service: "fleet", Port: 91}), protocol.ExitSmoke, "service fleet has no TCP port 91"},
		{"tcp without service", forwarded("p", protocol.TCPCheck{Service: "none"}), protocol.ExitSmoke, "no service none in namespace " + w.Namespace},
		{"grpc", healthy(protocol.GRPCCheck{Port: 60}), 0, "the server is SERVING"},
		{"grpc of a service", healthy(protocol.GRPCCheck{Port: 60, Health: "orders"}), protocol.ExitSmoke, "orders is NOT_SERVING, expected SERVING"},
		{"grpc of no service", healthy(protocol.GRPCCheck{Port: 60, Health: "books"}), protocol.ExitSmoke, "does not know the service books"},
		{"grpc of HTTP", healthy(protocol.GRPCCheck{Port: 80}), protocol.ExitSmoke, "service fleet, pod fleet-"},
		{"grpc refused", healthy(protocol.GRPCCheck{Port: 70}), protocol.ExitSmoke, "connection refused"},
		{"condition", objects(protocol.ResourceCheck{Name: "fleet", Condition: "Available"}), 0, "1 of 1: deployment/fleet in namespace"},
		{"other condition", objects(protocol.ResourceCheck{Name: "broken", Condition: "Available"}), protocol.ExitSmoke, "deployment/broken: condition Available is False, expected True: Deployment does not have minimum availability."},
		{"no condition", objects(protocol.ResourceCheck{Name: "fleet", Condition: "Ready"}), protocol.ExitSmoke, "no condition Ready, expected True"},
		{"field", objects(protocol.ResourceCheck{Name: "fleet", JSON: []protocol.JSONExpect{{Path: "{.spec.replicas}", Equals: 2}}}), protocol.ExitSmoke, "JSON {.spec.replicas} is 1, expected 2"},
		{"no object", objects(protocol.ResourceCheck{Name: "none"}), protocol.ExitSmoke, "no deployment/none in namespace " + w.Namespace},
		{"by label", objects(protocol.ResourceCheck{APIVersion: "v1", Kind: "Pod", Selector: fleetLabel, Condition: "Ready", AtLeast: 1}), 0, "1 of 1: pod with"},
		{"too few", objects(protocol.ResourceCheck{APIVersion: "v1", Kind: "Pod", Selector: fleetLabel, AtLeast: 2}), protocol.ExitSmoke, "are as expected, not 2"},
		{"without namespace", objects(protocol.ResourceCheck{APIVersion: "v1", Kind: "Namespace", Name: w.Namespace, JSON: []protocol.JSONExpect{{Path: "{.status.phase}", Equals: "Active"}}}), 0, "1 of 1"},
		{"no kind", objects(protocol.ResourceCheck{Kind: "Ship", Name: "x"}), protocol.ExitSmoke, "does not have the kind Ship in apps/v1"},
		{"no API", objects(protocol.ResourceCheck{APIVersion: "example.com/v1", Kind: "Ship", Name: "x"}), protocol.ExitSmoke, "does not have the API example.com/v1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			report, err := w.check(t, test.check)
			if code := protocol.ExitCode(err); code != test.code {
				t.Fatalf("exit code %d (%v), want %d", code, err, test.code)
			}
			result := report.Checks[0]
			if !strings.Contains(result.Message, test.message) {
				t.Errorf("message %q does not contain %q", result.Message, test.message)
			}
			t.Logf("%s, %d attempts: %s", time.Duration(result.Duration), result.Attempts, result.Message)
		})
	}
}
