package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// pauseImage is the image of the process that keeps a pod's namespaces.
const pauseImage = "harmony.test/pause:1"

// writeConfig writes the folders and settings that the components need.
func (c *cluster) writeConfig() error {
	for _, dir := range []string{"config/cni", "etcd", "kubelet", "log", "registry", "run"} {
		if err := os.MkdirAll(c.path(dir), 0o700); err != nil {
			return err
		}
	}
	for _, identity := range []string{"controller-manager", "scheduler", "kubelet", "proxy"} {
		if err := c.writeKubeconfig(c.path("config", identity+".kubeconfig"), identity); err != nil {
			return err
		}
	}
	if err := c.writeKubeconfig(c.kubeconfig(), "admin"); err != nil {
		return err
	}
	for file, text := range map[string]string{
		"containerd.toml": c.containerdConfig(),
		"Corefile":        c.dnsConfig(),
		"resolv.conf":     "", // pods look names up in the cluster only
	} {
		if err := writeFile(c.path("config", file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for file, value := range map[string]any{
		"cni/10-harmony.conflist": c.networkConfig(),
		"registry.json":           c.registryConfig(),
		"kubelet.json":            c.kubeletConfig(),
		"docker.json":             c.dockerConfig(),
	} {
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return err
		}
		if err := writeFile(c.path("config", file), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) kubeconfig() string { return c.path("kubeconfig") }

// containerdConfig keeps everything of containerd in the state folder. Images of
// registries on localhost, whatever the port, are pulled over plain http: that
// is containerd's own default.
func (c *cluster) containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = %q
state = %q
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = %q

[plugins."io.containerd.internal.v1.opt"]
  path = %q

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = %q

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
    max_conf_num = 1

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = %q
`, c.path("containerd"), c.path("run", "containerd"), c.path("containerd.sock"), c.path("containerd", "opt"),
		pauseImage, c.port(portContainerd), cniPlugins, c.path("config", "cni"), c.path("run", "runc"))
}

// dnsConfig answers for the names of the cluster's services. All other names do
// not exist: nothing that runs in the cluster depends on the world outside.
func (c *cluster) dnsConfig() string {
	return fmt.Sprintf(`. {
    bind %s
    ready 127.0.0.1:%s
    errors
    kubernetes cluster.local {
        kubeconfig %s
        ttl 1
    }
    template ANY ANY {
        rcode NXDOMAIN
    }
}
`, c.nodeIP(), c.port(portDNSReady), c.kubeconfig())
}

// object is a JSON object.
type object map[string]any

// networkConfig joins every pod to the host by a link of its own, so that all
// traffic between pods is routed by the host and passes kube-proxy's rules.
func (c *cluster) networkConfig() object {
	return object{
		"cniVersion": "0.4.0",
		"name":       c.name,
		"plugins": []object{{
			"type": "ptp",
			"ipam": object{
				"type":    "host-local",
				"dataDir": c.path("run", "addresses"),
				"ranges":  [][]object{{{"subnet": c.podCIDR()}}},
				"routes":  []object{{"dst": "0.0.0.0/0"}},
			},
		}},
	}
}

func (c *cluster) registryConfig() object {
	return object{
		"version": "0.1",
		"log":     object{"level": "warn", "accesslog": object{"disabled": true}},
		"http":    object{"addr": fmt.Sprintf("127.0.0.1:%d", 5050+c.slot)},
		"storage": object{
			"filesystem": object{"rootdirectory": c.path("registry")},
			"delete":     object{"enabled": true},
		},
	}
}

func (c *cluster) dockerConfig() object {
	return object{
		"hosts":               []string{c.dockerHost()},
		"containerd":          c.path("containerd.sock"),
		"data-root":           c.path("docker"),
		"exec-root":           c.path("run", "docker"),
		"pidfile":             c.dockerPidFile(),
		"deprecated-key-path": c.path("docker", "key.json"),
		"cgroup-parent":       "/" + c.cgroup(),
		"bridge":              c.dockerDevice(),
		"iptables":            false,
		"ip-forward":          false,
		"ip-masq":             false,
	}
}

// kubeletConfig turns off what guards a shared machine (evictions, quality of
// service groups, rate limits) and keeps everything in the state folder.
func (c *cluster) kubeletConfig() object {
	never := "0%"
	return object{
		"apiVersion":                  "kubelet.config.k8s.io/v1beta1",
		"kind":                        "KubeletConfiguration",
		"address":                     c.nodeIP(),
		"port":                        c.portNumber(portKubelet),
		"healthzBindAddress":          "127.0.0.1",
		"healthzPort":                 c.portNumber(portKubeletHealth),
		"tlsCertFile":                 c.path("pki", "kubelet-server.crt"),
		"tlsPrivateKeyFile":           c.path("pki", "kubelet-server.key"),
		"authentication":              object{"x509": object{"clientCAFile": c.path("pki", "ca.crt")}},
		"clusterDNS":                  []string{c.nodeIP()},
		"resolvConf":                  c.path("config", "resolv.conf"),
		"clusterDomain":               "cluster.local",
		"containerRuntimeEndpoint":    "unix://" + c.path("containerd.sock"),
		"podLogsDir":                  c.path("log", "pods"),
		"volumePluginDir":             c.path("kubelet", "volume-plugins"),
		"cgroupDriver":                "cgroupfs",
		"cgroupRoot":                  "/" + c.cgroup(),
		"cgroupsPerQOS":               true,
		"enforceNodeAllocatable":      []string{},
		"failSwapOn":                  false,
		"oomScoreAdj":                 0,
		"makeIPTablesUtilChains":      false,
		"maxPods":                     200,
		"syncFrequency":               "10s",
		"nodeStatusUpdateFrequency":   "5s",
		"serializeImagePulls":         false,
		"registryPullQPS":             0,
		"eventRecordQPS":              0,
		"kubeAPIQPS":                  200,
		"kubeAPIBurst":                400,
		"imageGCHighThresholdPercent": 100,
		"evictionHard": object{
			"memory.available": never, "nodefs.available": never, "nodefs.inodesFree": never,
			"imagefs.available": never, "imagefs.inodesFree": never,
		},
	}
}
