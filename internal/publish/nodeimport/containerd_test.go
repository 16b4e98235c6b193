package nodeimport

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/registry/daemon"
	"github.com/nationtech/harmony/pkg/protocol"
)

// An image that was imported runs on the real node, and the node tells the digest
// that it runs.
func TestImportIntoContainerd(t *testing.T) {
	socket := clustertest.Containerd(t)
	cluster := clustertest.Config(t)
	pushed := clustertest.Push(t, "node-import/app", "1")
	ref, err := name.NewDigest(pushed.FullName()+"@"+pushed.Digest, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	content, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	image := inLayout(t, content)
	namespace := cluster.Namespace(t)
	image.Repository = namespace + "/app" // of this run alone
	env := environment(false)
	env.Provider.Settings = map[string]any{"containerd": socket}
	got, err := push(t, env, nil, "1.4.0", image)
	if err != nil {
		t.Fatal(err)
	}
	removed(t, socket, got)
	if again, err := push(t, env, nil, "1.4.0", image); err != nil || !again.Unchanged {
		t.Fatalf("again: got %+v, %v", again, err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "app"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: got.String()}}, TerminationGracePeriodSeconds: new(int64(0))},
	}
	if _, err := cluster.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var last corev1.PodStatus
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		p, err := cluster.Client.CoreV1().Pods(namespace).Get(ctx, "app", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		last = p.Status
		return p.Status.Phase == corev1.PodRunning, nil
	})
	if err != nil {
		t.Fatalf("%v: %+v", err, last)
	}
	if id := last.ContainerStatuses[0].ImageID; !strings.HasSuffix(id, "@"+image.Digest) {
		t.Errorf("the node tells that it runs %s, want %s", id, image.Digest)
	}
}

func removed(t *testing.T, socket string, image protocol.ImageRef) {
	byTag, byDigest := names(image)
	t.Cleanup(func() {
		for _, ref := range []string{byTag, byDigest} {
			if out, err := exec.Command("ctr", "--address", socket, "-n", "k8s.io", "images", "rm", ref).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	})
}

// An image that a Docker-compatible daemon built goes into the node as well, and
// is not taken out of the daemon when the node has it.
func TestImportOutOfDaemon(t *testing.T) {
	socket := clustertest.Containerd(t)
	t.Setenv("DOCKER_HOST", clustertest.Docker(t))
	d, err := daemon.Connect(t.Context(), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	namespace := fmt.Sprintf("node-import-%d", time.Now().UnixNano())
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range map[string]string{"Dockerfile": "FROM scratch\nCOPY a /\nCMD [\"/a\"]\n", "a": namespace} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	id, err := d.Build(t.Context(), daemon.BuildOptions{Dockerfile: "Dockerfile"}, &b, func(daemon.Message) {})
	if err != nil {
		t.Fatal(err)
	}
	image := protocol.ImageRef{Repository: namespace + "/app", ID: id, Location: protocol.InDaemon}
	env := environment(false)
	env.Cache, env.Provider.Settings = t.TempDir(), map[string]any{"containerd": socket}
	planned := env
	planned.DryRun = true
	if got, err := push(t, planned, nil, "1.4.0", image); err != nil || got.Digest != "" || !got.Planned {
		t.Fatalf("planned: got %+v, %v", got, err)
	}
	got, err := push(t, env, nil, "1.4.0", image)
	if err != nil {
		t.Fatal(err)
	}
	removed(t, socket, got)
	if got.Unchanged || got.Digest == "" || got.Location != protocol.InNodes || got.ID != "" {
		t.Errorf("got %+v", got)
	}
	if err := d.Untag(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if again, err := push(t, env, nil, "1.4.0", image); err != nil || !again.Unchanged || again.Digest != got.Digest {
		t.Fatalf("again: got %+v, %v", again, err)
	}
	if _, err := push(t, env, nil, "1.5.0", image); err == nil || !strings.Contains(err.Error(), "is not in the daemon") {
		t.Errorf("gone from the daemon: got %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(env.Cache, ".image-*")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
