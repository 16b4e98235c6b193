package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// component is one long-running process of the cluster.
type component struct {
	name   string
	argv   []string
	env    []string                    // further variables
	config string                      // file of its settings in config/, if it has one
	ready  func(context.Context) error // nil: as soon as it runs
	after  []string                    // components that must be ready first
	stale  string                      // file that a killed process leaves and that keeps the next from starting
}

// components are the processes of the cluster, in the order of their start.
func (c *cluster) components(wanted use) []component {
	list := []component{c.etcd(), c.containerd(), c.dockerRegistry(), c.apiServer(), c.controllerManager(), c.scheduler(), c.kubelet(), c.dns()}
	if c.slot == 0 {
		list = append(list, c.kubeProxy())
	}
	if wanted >= forTests {
		list = append(list, c.dockerd())
	}
	return list
}

// binary is the path of a binary that the kit built, in the cache: a component
// whose version has changed has other arguments.
func (c *cluster) binary(name string) string {
	if target, err := os.Readlink(c.path("bin", name)); err == nil {
		return target
	}
	return c.path("bin", name)
}

func (c *cluster) etcd() component {
	client, peer := "http://127.0.0.1:"+c.port(portEtcd), "http://127.0.0.1:"+c.port(portEtcdPeer)
	return component{name: "etcd", argv: []string{
		c.binary("etcd"), "--name=default", "--data-dir=" + c.path("etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
		"--unsafe-no-fsync", "--log-level=warn",
	}}
}

func (c *cluster) containerd() component {
	return component{name: "containerd", argv: []string{"/usr/bin/containerd", "--config=" + c.path("config", "containerd.toml")},
		config: "containerd.toml", ready: c.importPause}
}

func (c *cluster) dockerRegistry() component {
	return component{name: "docker-registry", argv: []string{"/usr/bin/docker-registry", "serve", c.path("config", "registry.json")},
		config: "registry.json",
		ready:  func(ctx context.Context) error { return httpOK(ctx, nil, "http://"+c.registry()+"/v2/") }}
}

func (c *cluster) apiServer() component {
	pki := func(file string) string { return c.path("pki", file) }
	return component{name: "kube-apiserver", ready: c.apiReady, argv: []string{
		c.binary("kube-apiserver"),
		"--etcd-servers=http://127.0.0.1:" + c.port(portEtcd),
		"--bind-address=" + c.nodeIP(), "--advertise-address=" + c.nodeIP(), "--secure-port=" + c.port(portAPI),
		"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
		"--client-ca-file=" + pki("ca.crt"),
		"--kubelet-certificate-authority=" + pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + pki("apiserver-kubelet.crt"), "--kubelet-client-key=" + pki("apiserver-kubelet.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + pki("service-accounts.key"), "--service-account-signing-key-file=" + pki("service-accounts.key"),
		"--requestheader-client-ca-file=" + pki("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + pki("front-proxy.crt"), "--proxy-client-key-file=" + pki("front-proxy.key"),
		"--service-cluster-ip-range=" + c.serviceCIDR(),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
	}}
}

func (c *cluster) controllerManager() component {
	return component{name: "kube-controller-manager", after: []string{"kube-apiserver"}, argv: []string{
		c.binary("kube-controller-manager"), "--kubeconfig=" + c.path("config", "controller-manager.kubeconfig"),
		"--bind-address=127.0.0.1", "--secure-port=" + c.port(portController), "--leader-elect=false",
		"--use-service-account-credentials", "--flex-volume-plugin-dir=" + c.path("kubelet", "volume-plugins"),
		"--root-ca-file=" + c.path("pki", "ca.crt"), "--service-account-private-key-file=" + c.path("pki", "service-accounts.key"),
		"--cluster-signing-cert-file=" + c.path("pki", "ca.crt"), "--cluster-signing-key-file=" + c.path("pki", "ca.key"),
		"--cluster-cidr=" + c.podCIDR(), "--service-cluster-ip-range=" + c.serviceCIDR(),
		"--kube-api-qps=200", "--kube-api-burst=400",
	}}
}

func (c *cluster) scheduler() component {
	return component{name: "kube-scheduler", after: []string{"kube-apiserver"}, argv: []string{
		c.binary("kube-scheduler"), "--kubeconfig=" + c.path("config", "scheduler.kubeconfig"),
		"--bind-address=127.0.0.1", "--secure-port=" + c.port(portScheduler), "--leader-elect=false",
		"--kube-api-qps=200", "--kube-api-burst=400",
	}}
}

func (c *cluster) kubelet() component {
	return component{name: "kubelet", config: "kubelet.json", after: []string{"kube-apiserver", "containerd"}, ready: c.nodeReady, argv: []string{
		c.binary("kubelet"), "--config=" + c.path("config", "kubelet.json"), "--kubeconfig=" + c.path("config", "kubelet.kubeconfig"),
		"--hostname-override=" + c.name, "--node-ip=" + c.nodeIP(),
		"--root-dir=" + c.path("kubelet"), "--cert-dir=" + c.path("kubelet", "pki"),
	}}
}

func (c *cluster) dns() component {
	return component{name: "coredns", config: "Corefile", after: []string{"kube-apiserver"},
		argv: []string{c.binary("coredns"), "-conf=" + c.path("config", "Corefile")},
		ready: func(ctx context.Context) error {
			return httpOK(ctx, nil, "http://127.0.0.1:"+c.port(portDNSReady)+"/ready")
		}}
}

// kubeProxy serves the addresses of services. Its rules are the machine's, so
// only the default cluster has one; a named cluster's services are reached
// through its API server.
func (c *cluster) kubeProxy() component {
	return component{name: "kube-proxy", after: []string{"kube-apiserver"}, argv: []string{
		c.binary("kube-proxy"), "--kubeconfig=" + c.path("config", "proxy.kubeconfig"),
		"--hostname-override=" + c.name, "--proxy-mode=iptables", "--cluster-cidr=" + c.podCIDR(),
		"--nodeport-addresses=" + c.nodeIP() + "/32", "--iptables-localhost-nodeports=false",
		"--iptables-min-sync-period=100ms",
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0", "--oom-score-adj=0",
		"--healthz-bind-address=127.0.0.1:" + c.port(portProxyHealth), "--metrics-bind-address=127.0.0.1:" + c.port(portProxyMetrics),
	}, ready: func(ctx context.Context) error {
		return httpOK(ctx, nil, "http://127.0.0.1:"+c.port(portProxyHealth)+"/healthz")
	}}
}

// dockerd is a Docker daemon of the cluster's own: its containers and images lie
// in the state folder, its bridge is the kit's, and it touches no network rules.
func (c *cluster) dockerd() component {
	return component{name: "dockerd", config: "docker.json", after: []string{"containerd"},
		argv:  []string{"/usr/sbin/dockerd", "--config-file=" + c.path("config", "docker.json")},
		stale: c.dockerPidFile(),
		ready: func(ctx context.Context) error { return unixAnswers(ctx, c.path("docker.sock")) }}
}

func (c *cluster) dockerPidFile() string { return c.path("run", "dockerd.pid") }

func (c *cluster) dockerHost() string { return "unix://" + c.path("docker.sock") }

// isMain matches the component's own process.
func isMain(name string) func(process) bool {
	return func(p process) bool { return p.component == name && p.main() }
}

// ensure starts the component, unless it runs with the same arguments and settings.
func (c *cluster) ensure(ctx context.Context, want component) error {
	config, err := c.configDigest(want)
	if err != nil {
		return err
	}
	list, err := c.processes()
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(list, isMain(want.name)); i >= 0 {
		if slices.Equal(list[i].argv, want.argv) && list[i].config == config {
			return nil
		}
		c.say("restarting %s: its settings have changed", want.name)
		if err := c.stop(ctx, 10*time.Second, isMain(want.name)); err != nil {
			return err
		}
	}
	if want.stale != "" {
		if err := ignore(os.Remove(want.stale), fs.ErrNotExist); err != nil {
			return err
		}
	}
	if err := c.start(want, config); err != nil {
		return err
	}
	// The kernel shows a new process's environment a moment after its start.
	err = poll(ctx, time.Second, func() error { return c.alive(want.name) })
	return c.explain(want.name, err)
}

// configDigest identifies the content of the component's settings.
func (c *cluster) configDigest(p component) (string, error) {
	if p.config == "" {
		return "", nil
	}
	text, err := os.ReadFile(c.path("config", p.config))
	return fmt.Sprintf("%x", sha256.Sum256(text)), err
}

// alive fails unless the component's own process runs.
func (c *cluster) alive(name string) error {
	list, err := c.processes()
	if err == nil && !slices.ContainsFunc(list, isMain(name)) {
		err = errors.New("it has ended")
	}
	return err
}

// await waits until the component is ready. It fails as soon as the process ends.
func (c *cluster) await(ctx context.Context, want component) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := poll(ctx, 2*time.Minute, func() error {
		if err := c.alive(want.name); err != nil {
			cancel(err)
			return err
		}
		if want.ready == nil {
			return nil
		}
		return want.ready(ctx)
	})
	return c.explain(want.name, err)
}

// explain adds the end of the component's log to an error.
func (c *cluster) explain(name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s: %w\n%s", name, err, c.logTail(name))
}

// logTail is the end of a component's log, indented.
func (c *cluster) logTail(name string) string {
	text, err := os.ReadFile(c.logFile(name))
	if err != nil {
		return err.Error()
	}
	return "  end of " + c.logFile(name) + ":\n  " + strings.ReplaceAll(tail(text, 15), "\n", "\n  ")
}
