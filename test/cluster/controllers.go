package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// crdFolder is where a recipe keeps its custom resource definitions, next to the
// binaries.
const crdFolder = "crds"

// argoNamespace is the namespace of Argo CD's own objects.
const argoNamespace = "argocd"

// copyCRDs copies the custom resource definitions of the recipe's module.
func (c *cluster) copyCRDs(ctx context.Context, r recipe, source, to string) error {
	if r.crds == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", r.module)
	cmd.Dir, cmd.Env = source, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("find the module %s: %w", r.module, err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), r.crds, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s of %s has no definitions: %v", r.crds, r.module, err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// startControllers starts the controllers, after what they need in the API
// server.
func (c *cluster) startControllers(ctx context.Context, wanted use) error {
	if len(c.controllers(wanted)) == 0 {
		return nil
	}
	if err := c.installControllers(ctx); err != nil {
		return err
	}
	return c.startAll(ctx, c.controllers(wanted))
}

// controllers are those of Flux and Argo CD. They run next to the cluster, as
// its administrator; only the default cluster has them.
func (c *cluster) controllers(wanted use) []component {
	if wanted < forTests || c.slot != 0 {
		return nil
	}
	admin := []string{"KUBECONFIG=" + c.kubeconfig(), "RUNTIME_NAMESPACE=flux-system"}
	address := func(port int) string { return "127.0.0.1:" + c.port(port) }
	healthy := func(port int) func(context.Context) error {
		return func(ctx context.Context) error { return httpOK(ctx, nil, "http://"+address(port)+"/readyz") }
	}
	argo := append([]string{"ARGOCD_GPG_ENABLED=false", "ARGOCD_K8S_CLIENT_QPS=500", "ARGOCD_K8S_CLIENT_BURST=1000"}, admin...)
	return []component{
		{name: "source-controller", env: admin, ready: healthy(portFluxSourceHealth), argv: []string{
			c.binary("source-controller"), "--storage-path=" + c.path("flux"),
			"--storage-addr=" + address(portFluxSource), "--storage-adv-addr=" + address(portFluxSource),
			"--metrics-addr=" + address(portFluxSourceMetrics), "--health-addr=" + address(portFluxSourceHealth),
			"--events-addr=", "--enable-leader-election=false", "--kube-api-qps=500", "--kube-api-burst=1000",
		}},
		{name: "helm-controller", env: admin, ready: healthy(portFluxHelmHealth), argv: []string{
			c.binary("helm-controller"),
			"--metrics-addr=" + address(portFluxHelmMetrics), "--health-addr=" + address(portFluxHelmHealth),
			"--events-addr=", "--enable-leader-election=false", "--kube-api-qps=500", "--kube-api-burst=1000",
		}},
		{name: "redis-server", argv: []string{
			"/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", c.port(portRedis), "--dir", c.path("run"),
			"--save", "", "--appendonly", "no", "--set-proc-title", "no",
		}},
		{name: "argocd-repo-server", env: argo, after: []string{"redis-server"},
			ready: func(ctx context.Context) error {
				return httpOK(ctx, nil, "http://"+address(portArgoRepoMetrics)+"/healthz")
			},
			argv: []string{
				c.binary("argocd-repo-server"), "--redis=" + address(portRedis), "--disable-tls",
				"--address=127.0.0.1", "--port=" + c.port(portArgoRepo),
				"--metrics-address=127.0.0.1", "--metrics-port=" + c.port(portArgoRepoMetrics), "--loglevel=warn",
			}},
		{name: "argocd-application-controller", env: argo, after: []string{"argocd-repo-server"},
			ready: func(ctx context.Context) error {
				return httpOK(ctx, nil, "http://"+address(portArgoMetrics)+"/healthz")
			},
			argv: []string{
				c.binary("argocd-application-controller"), "--kubeconfig=" + c.kubeconfig(), "--namespace=" + argoNamespace,
				"--redis=" + address(portRedis), "--repo-server=" + address(portArgoRepo), "--repo-server-plaintext",
				"--metrics-port=" + c.port(portArgoMetrics), "--loglevel=warn",
			}},
	}
}

// installControllers gives the API server the definitions and objects that the
// controllers start with. It does so once for each version of them.
func (c *cluster) installControllers(ctx context.Context) error {
	if err := os.MkdirAll(c.path("flux"), 0o700); err != nil {
		return err
	}
	objects, err := c.controllerObjects()
	if err != nil {
		return err
	}
	done := c.path("run", fmt.Sprintf("controllers-%x", sha256.Sum256(objects)))
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	var definitions, rest [][]byte
	for _, document := range bytes.Split(objects, []byte("\n---\n")) {
		if bytes.Contains(document, []byte("kind: CustomResourceDefinition")) {
			definitions = append(definitions, document)
		} else {
			rest = append(rest, document)
		}
	}
	if err := c.apply(ctx, definitions); err != nil {
		return err
	}
	// A definition that has no conditions yet is an error for kubectl wait.
	err = poll(ctx, time.Minute, func() error {
		return c.kubectl(ctx, nil, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	})
	if err != nil {
		return err
	}
	if err := c.apply(ctx, rest); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o644)
}

func (c *cluster) apply(ctx context.Context, documents [][]byte) error {
	return c.kubectl(ctx, bytes.Join(documents, []byte("\n---\n")), "apply", "--server-side", "--force-conflicts", "--filename=-")
}

func (c *cluster) kubectl(ctx context.Context, stdin []byte, args ...string) error {
	cmd := exec.CommandContext(ctx, c.path("bin", "kubectl"), append([]string{"--kubeconfig=" + c.kubeconfig()}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", args[0], err, tail(out, 15))
	}
	return nil
}

// controllerObjects are the definitions of the controllers' modules, and the
// objects without which Argo CD does not start.
func (c *cluster) controllerObjects() ([]byte, error) {
	var documents [][]byte
	for _, r := range recipes() {
		if r.crds == "" {
			continue
		}
		for file := range r.binaries {
			found, err := definitionsOf(filepath.Dir(c.binary(file)))
			if err != nil {
				return nil, err
			}
			documents = append(documents, found...)
		}
	}
	objects, err := c.argoObjects()
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		text, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		documents = append(documents, text)
	}
	return bytes.Join(documents, []byte("\n---\n")), nil
}

func definitionsOf(folder string) ([][]byte, error) {
	var documents [][]byte
	err := filepath.WalkDir(filepath.Join(folder, crdFolder), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		documents = append(documents, bytes.TrimPrefix(content, []byte("---\n")))
		return err
	})
	return documents, err
}

// argoObjects are Argo CD's settings: this cluster under its own URL, and the
// kit's registry over plain http.
func (c *cluster) argoObjects() ([]object, error) {
	partOf := object{"app.kubernetes.io/part-of": "argocd"}
	named := func(kind, name string, labels object, data object) object {
		o := object{"apiVersion": "v1", "kind": kind, "metadata": object{"name": name, "namespace": argoNamespace, "labels": labels}}
		switch {
		case kind == "Secret":
			o["stringData"] = data
		case data != nil:
			o["data"] = data
		}
		return o
	}
	tls := object{}
	for file, field := range map[string]string{"ca.crt": "caData", "admin.crt": "certData", "admin.key": "keyData"} {
		content, err := os.ReadFile(c.path("pki", file))
		if err != nil {
			return nil, err
		}
		tls[field] = base64.StdEncoding.EncodeToString(content)
	}
	config, err := json.Marshal(object{"tlsClientConfig": tls})
	if err != nil {
		return nil, err
	}
	objects := []object{
		{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": argoNamespace}},
		{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": "flux-system"}},
		named("ConfigMap", "argocd-cm", partOf, object{"timeout.reconciliation": "300s"}),
		named("Secret", "argocd-secret", partOf, object{"server.secretkey": "not-a-secret-of-anything"}),
		named("Secret", "cluster-harmony-test", object{"argocd.argoproj.io/secret-type": "cluster"},
			object{"name": c.name, "server": c.server(), "config": string(config)}),
		named("Secret", "registry", object{"argocd.argoproj.io/secret-type": "repo-creds"},
			object{"type": "oci", "url": "oci://" + c.registry(), "insecureOCIForceHttp": "true"}),
		{"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": object{"name": "default", "namespace": argoNamespace},
			"spec": object{
				"sourceRepos": []string{"*"}, "destinations": []object{{"server": "*", "namespace": "*"}},
				"clusterResourceWhitelist": []object{{"group": "*", "kind": "*"}},
			}},
	}
	for _, name := range []string{"argocd-rbac-cm", "argocd-gpg-keys-cm", "argocd-tls-certs-cm", "argocd-ssh-known-hosts-cm", "argocd-cmd-params-cm"} {
		objects = append(objects, named("ConfigMap", name, partOf, nil))
	}
	return objects, nil
}
