package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/clustertest"
)

// farmImage is the image that examples/build-farm/buildkit.yaml names. No test
// cluster can pull it: the test runs the same BuildKit from one of its own.
const farmImage = "moby/buildkit:v0.26.3"

// A farm as docs/build-farm.md has it, with workers in pods, reached by kubectl
// as an account that may do no more than the manifest's role.
func TestBuildFarm(t *testing.T) {
	p := newFolder(t)
	buildkitd, buildctl := clustertest.BuildKit(t)
	namespace := p.cluster.Namespace(t)
	manifest, err := os.ReadFile("../../examples/build-farm/buildkit.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p.write("farm.yaml", manifest)
	p.must("kubectl", "apply", "--namespace="+namespace, "--server-side", "--dry-run=server", "--validate=strict", "--filename=farm.yaml")

	p.rewrite("farm.yaml", farmImage, p.workerImage(buildkitd, buildctl))
	p.farmVolumes(namespace, 3)
	p.must("kubectl", "apply", "--namespace="+namespace, "--server-side", "--validate=strict", "--filename=farm.yaml")
	p.must("kubectl", "rollout", "status", "statefulset/buildkit", "--namespace="+namespace, "--timeout=2m")

	p.pipelineAccount(namespace)
	p.farmProject(namespace)
	p.env = append(p.env, "SOURCE_DATE_EPOCH=1") // or files that RUN makes have the time of the build
	built := only(documents(t, p.must("harmony", "build", "--topology=farm", "-o", "json").stdout), "ImageRef")
	if len(built) != 1 || !strings.HasPrefix(built[0].Spec.Digest, "sha256:") || built[0].Spec.Unchanged {
		t.Fatalf("built %+v", built)
	}
	again := only(documents(t, p.must("harmony", "build", "--topology=farm", "--no-cache", "-o", "json").stdout), "ImageRef")
	if len(again) != 1 || again[0].Spec.Digest != built[0].Spec.Digest {
		t.Errorf("built again: %+v, want the digest %s", again, built[0].Spec.Digest)
	}
}

// write makes a file of the project, and the folders above it.
func (p *project) write(name string, content []byte) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o755); err != nil {
		p.t.Fatal(err)
	}
}

// copyIn copies a file of this machine into the project, as name.
func (p *project) copyIn(path, name string) {
	p.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(name, content)
}

// workerImage publishes an image of BuildKit, and of this machine's runc with its
// libraries, and returns its reference.
func (p *project) workerImage(buildkitd, buildctl string) string {
	p.t.Helper()
	runc, err := exec.LookPath("runc")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, program := range []string{buildkitd, buildctl, runc} {
		p.copyIn(program, "worker/usr/bin/"+filepath.Base(program))
	}
	libraries, err := exec.Command("ldd", runc).Output()
	if err != nil && !bytes.Contains(libraries, []byte("not a dynamic executable")) {
		p.t.Fatal(err)
	}
	for _, library := range regexp.MustCompile(`/\S+`).FindAllString(string(libraries), -1) {
		p.copyIn(library, "worker"+library)
	}
	p.write("Dockerfile", []byte("FROM scratch\nWORKDIR /tmp\nCOPY worker /\nENV PATH=/usr/bin\nENTRYPOINT [\"buildkitd\"]\n"))
	p.write("harmony.yaml", fmt.Appendf(nil, `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: worker}
spec:
  image: {repository: %s/worker, dockerfile: {path: Dockerfile}}
  chart: {path: chart, image: {value: image}}
`, p.name))
	p.write("chart/Chart.yaml", []byte("{apiVersion: v2, name: worker, version: 0.0.0}\n"))
	p.write("chart/values.yaml", []byte("image: \"\"\n"))
	p.write("chart/templates/pod.yaml", []byte("{apiVersion: v1, kind: Pod, metadata: {name: worker}, spec: {containers: [{name: worker, image: \"{{ .Values.image }}\"}]}}\n"))
	published := only(documents(p.t, p.sh("harmony build --topology=local | harmony publish --topology=local").stdout), "ImageRef")
	if len(published) == 0 {
		p.t.Fatal("the image of the workers was not published")
	}
	image := published[len(published)-1]
	return clustertest.Registry(p.t) + "/" + p.name + "/worker@" + image.Spec.Digest
}

// farmVolumes makes a volume for each worker, which the test cluster does not do
// by itself, and sees to it that the workers are gone before their volumes are.
func (p *project) farmVolumes(namespace string, workers int) {
	p.t.Helper()
	volumes := p.cluster.Client.CoreV1().PersistentVolumes()
	for i := range workers {
		claim := fmt.Sprintf("cache-buildkit-%d", i)
		volume := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: namespace + "-" + claim},
			Spec: corev1.PersistentVolumeSpec{
				Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("50Gi")},
				AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				ClaimRef:               &corev1.ObjectReference{Namespace: namespace, Name: claim},
				PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: p.t.TempDir()}},
			},
		}
		if _, err := volumes.Create(p.t.Context(), volume, metav1.CreateOptions{}); err != nil {
			p.t.Fatal(err)
		}
	}
	p.t.Cleanup(func() {
		script := fmt.Sprintf(`kubectl delete --namespace=%[1]s --ignore-not-found --timeout=1m statefulset/buildkit --cascade=foreground
		kubectl delete --timeout=1m --namespace=%[1]s pvc --all
		kubectl get pv --output=name | grep %[1]s- | xargs kubectl delete --timeout=1m`, namespace)
		cmd := exec.Command("sh", "-ec", script)
		cmd.Env = append(p.env, "KUBECONFIG="+p.cluster.Kubeconfig)
		if out, err := cmd.CombinedOutput(); err != nil {
			p.t.Errorf("remove the farm: %v\n%s", err, out)
		}
	})
}

// pipelineAccount gives the project the identity of an account that has the role
// buildkit-client and no other, as the context pipeline.
func (p *project) pipelineAccount(namespace string) {
	p.t.Helper()
	p.must("kubectl", "create", "serviceaccount", "pipeline", "--namespace="+namespace)
	p.must("kubectl", "create", "rolebinding", "pipeline", "--namespace="+namespace, "--role=buildkit-client", "--serviceaccount="+namespace+":pipeline")
	token := strings.TrimSpace(p.must("kubectl", "create", "token", "pipeline", "--namespace="+namespace).stdout)
	cluster := p.must("kubectl", "config", "view", "--minify", "--output=jsonpath={.contexts[0].context.cluster}").stdout
	p.copyIn(p.cluster.Kubeconfig, "kubeconfig")
	p.env = append(p.env, "KUBECONFIG="+filepath.Join(p.dir, "kubeconfig"))
	p.must("kubectl", "config", "set-credentials", "pipeline", "--token="+token)
	p.must("kubectl", "config", "set-context", "pipeline", "--cluster="+cluster, "--user=pipeline")
	p.must("kubectl", "config", "use-context", "pipeline")
	if out := p.run("kubectl", "get", "secrets", "--namespace="+namespace); out.code == 0 {
		p.t.Error("the pipeline's account may read secrets: the role allows too much, or is not the one in use")
	}
}

// farmProject writes an app with a RUN and a topology that builds it on the farm.
func (p *project) farmProject(namespace string) {
	p.copyIn("/bin/busybox", "app/busybox")
	p.write("app/Dockerfile", []byte(`FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox sha256sum /bin/busybox >/sum"]
ENTRYPOINT ["/bin/busybox"]
`))
	var addresses strings.Builder
	for i := range 3 {
		fmt.Fprintf(&addresses, "        - kube-pod://buildkit-%d?context=pipeline&namespace=%s\n", i, namespace)
	}
	p.write("harmony.yaml", fmt.Appendf(nil, `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: app}
spec:
  image: {repository: %s/app, dockerfile: {path: app/Dockerfile, context: app}}
  chart: {path: chart, image: {value: image}}
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: farm}
spec:
  containerBuilder:
    adapter: buildkit
    settings:
      addresses:
%s  ociRegistry: {adapter: oci, url: %s}
`, p.name, addresses.String(), clustertest.Registry(p.t)))
}
