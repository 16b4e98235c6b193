package nodeimport

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/nationtech/harmony/internal/clustertest"
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
	byTag, byDigest := names(got)
	t.Cleanup(func() {
		for _, ref := range []string{byTag, byDigest} {
			if out, err := exec.Command("ctr", "--address", socket, "-n", "k8s.io", "images", "rm", ref).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	})
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
