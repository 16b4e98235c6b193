package clustertest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

const operatorModule = "github.com/prometheus-operator/prometheus-operator"

// PrometheusOperator sees to it that the cluster knows the custom resources of
// the Prometheus operator that the suite writes. They are those of the module
// that testdata/prometheus-operator/go.mod names, and stay.
func (c Cluster) PrometheusOperator(t testing.TB) {
	t.Helper()
	client, err := dynamic.NewForConfig(c.Rest)
	if err != nil {
		t.Fatal(err)
	}
	definitions := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	module := operator(t)
	for _, name := range []string{"servicemonitors", "prometheusrules", "alertmanagerconfigs"} {
		there, err := definitions.Get(t.Context(), name+".monitoring.coreos.com", metav1.GetOptions{})
		if err == nil && isEstablished(there) && "v"+there.GetAnnotations()["operator.prometheus.io/version"] == module.Version {
			continue
		}
		text, err := os.ReadFile(filepath.Join(module.Dir, "example", "prometheus-operator-crd", "monitoring.coreos.com_"+name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		definition := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, definition); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := definitions.Apply(t.Context(), definition.GetName(), definition, metav1.ApplyOptions{FieldManager: "harmony-test", Force: true}); err != nil {
			t.Fatal(err)
		}
		err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			there, err := definitions.Get(ctx, definition.GetName(), metav1.GetOptions{})
			return err == nil && isEstablished(there), err
		})
		if err != nil {
			t.Fatalf("%s: %v", definition.GetName(), err)
		}
	}
}

type goModule struct{ Dir, Version string }

// operator is the operator's module, downloaded if need be.
func operator(t testing.TB) goModule {
	t.Helper()
	here, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/nationtech/harmony/internal/clustertest").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "mod", "download", "-json", operatorModule)
	cmd.Dir = filepath.Join(strings.TrimSpace(string(here)), "testdata", "prometheus-operator")
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("download %s: %v\n%s", operatorModule, err, out)
	}
	var module goModule
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	return module
}

func isEstablished(definition *unstructured.Unstructured) bool {
	found, err := status.Compute(definition)
	return err == nil && found.Status == status.CurrentStatus
}
