// Package clustertest gives tests a real cluster and registry: those that the
// environment names. A test without them is skipped, but fails in CI.
package clustertest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The environment variables that name the cluster.
const (
	kubeconfigVariable = "HARMONY_TEST_KUBECONFIG"
	registryVariable   = "HARMONY_TEST_REGISTRY"
	dockerVariable     = "HARMONY_TEST_DOCKER"
	buildkitdVariable  = "HARMONY_TEST_BUILDKITD"
	buildctlVariable   = "HARMONY_TEST_BUILDCTL"
)

// Kubeconfig is the path of the kubeconfig of the test cluster.
func Kubeconfig(t testing.TB) string {
	t.Helper()
	return variable(t, kubeconfigVariable)
}

// Registry is the host and port of a registry that the test cluster pulls from;
// both it and the test reach it by plain http.
func Registry(t testing.TB) string {
	t.Helper()
	return variable(t, registryVariable)
}

// Docker is the DOCKER_HOST of the test cluster's dockerd.
func Docker(t testing.TB) string {
	t.Helper()
	return variable(t, dockerVariable)
}

// BuildKit are the paths of buildkitd and buildctl, static programs.
func BuildKit(t testing.TB) (buildkitd, buildctl string) {
	t.Helper()
	return variable(t, buildkitdVariable), variable(t, buildctlVariable)
}

// Containerd is the socket of the container runtime of the test cluster's node,
// beside the kubeconfig of the kit's own cluster.
func Containerd(t testing.TB) string {
	t.Helper()
	socket := filepath.Join(filepath.Dir(Kubeconfig(t)), "containerd.sock")
	if _, err := os.Stat(socket); err != nil {
		t.Skipf("needs the test cluster of the kit: %v", err)
	}
	return socket
}

func variable(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	switch {
	case value != "":
	case os.Getenv("CI") != "":
		t.Fatalf("needs the test cluster: %s is not set", name)
	default:
		t.Skipf("needs the test cluster: %s is not set", name)
	}
	return value
}

// Cluster is a cluster for tests.
type Cluster struct {
	// Kubeconfig is the path of its kubeconfig.
	Kubeconfig string
	Rest       *rest.Config
	Client     kubernetes.Interface
}

// Config is the cluster that the environment names.
func Config(t testing.TB) Cluster {
	t.Helper()
	path := Kubeconfig(t)
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = -1, -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return Cluster{Kubeconfig: path, Rest: config, Client: client}
}

// NamespaceName is a name for a namespace of the test alone, which need not
// exist. It is deleted at the end of the test.
func (c Cluster) NamespaceName(t testing.TB) string {
	t.Helper()
	label := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(t.Name()))
	name := strings.Trim(label[:min(len(label), 40)], "-") + time.Now().Format("-150405.000000")
	name = strings.ReplaceAll(name, ".", "-")
	c.DeleteNamespace(t, name)
	return name
}

// DeleteNamespace deletes a namespace at the end of the test, if it exists then.
func (c Cluster) DeleteNamespace(t testing.TB, name string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		options := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}
		err := c.Client.CoreV1().Namespaces().Delete(ctx, name, options)
		if err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("delete namespace %s: %v", name, err)
		}
	})
}

// Namespace makes a namespace of the test alone. It is deleted at the end.
func (c Cluster) Namespace(t testing.TB) string {
	t.Helper()
	name := c.NamespaceName(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.Client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}
