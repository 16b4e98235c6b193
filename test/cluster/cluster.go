package main

import (
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// maxStatePath keeps the sockets below the state folder within the 107 bytes
// that the kernel allows for a socket's path.
const maxStatePath = 60

// slots is how many clusters' addresses and ports fit side by side.
const slots = 60

// cluster is where one cluster lives: its folders, addresses and ports.
type cluster struct {
	name  string // of the node and the kube context
	slot  int    // chooses addresses and ports; 0 is the default cluster's
	state string // folder of everything that down removes
	cache string // folder of the built binaries, shared by all clusters
	out   io.Writer
}

// clusterFromEnv reads the name and the folders from the environment.
func clusterFromEnv() (*cluster, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("find the home folder: %w", err)
	}
	name := os.Getenv("HARMONY_CLUSTER_NAME")
	if !regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?)?$`).MatchString(name) {
		return nil, badUsage("HARMONY_CLUSTER_NAME=%q: use up to 22 of a-z, 0-9 and -", name)
	}
	c := &cluster{
		name:  "harmony-test",
		cache: filepath.Join(folder("XDG_CACHE_HOME", home, ".cache"), "harmony-test"),
		state: filepath.Join(folder("XDG_STATE_HOME", home, ".local/state"), "harmony-test", "cluster"),
	}
	if name != "" {
		c.name += "-" + name
		c.state += "-" + name
		c.slot = slotOf(name)
	}
	if set := os.Getenv("HARMONY_CLUSTER_STATE"); set != "" {
		c.state = filepath.Clean(set)
	}
	if !filepath.IsAbs(c.state) || len(c.state) > maxStatePath {
		return nil, badUsage("state folder %q: must be absolute and at most %d bytes long (set HARMONY_CLUSTER_STATE)", c.state, maxStatePath)
	}
	return c, nil
}

// folder is the value of an XDG variable, or its default below home.
func folder(variable, home, fallback string) string {
	if set := os.Getenv(variable); filepath.IsAbs(set) {
		return set
	}
	return filepath.Join(home, fallback)
}

// slotOf gives a named cluster its own addresses and ports: 1 to slots-1.
func slotOf(name string) int {
	sum := fnv.New32a()
	sum.Write([]byte(name))
	return 1 + int(sum.Sum32()%(slots-1))
}

// Addresses come from 198.18.0.0/15, which is reserved for tests of network
// devices and never routed.

func (c *cluster) nodeIP() string      { return fmt.Sprintf("198.18.%d.1", c.slot) }
func (c *cluster) podCIDR() string     { return fmt.Sprintf("198.18.%d.0/24", 64+c.slot) }
func (c *cluster) dockerCIDR() string  { return fmt.Sprintf("198.18.%d.1/24", 128+c.slot) }
func (c *cluster) serviceCIDR() string { return fmt.Sprintf("198.19.%d.0/24", c.slot) }
func (c *cluster) kubernetesIP() string {
	return fmt.Sprintf("198.19.%d.1", c.slot)
}

// device is the name of the interface that has the node's address.
func (c *cluster) device() string { return fmt.Sprintf("harmony%d", c.slot) }

// dockerDevice is the name of the bridge of the Docker daemon's containers.
func (c *cluster) dockerDevice() string { return c.device() + "d" }

// Ports lie below the range from which the kernel takes ports for clients.
const (
	portEtcd = iota
	portEtcdPeer
	portAPI
	portController
	portScheduler
	portKubelet
	portKubeletHealth
	portProxyHealth
	portProxyMetrics
	portContainerd
	portDNSReady
	portFluxSource
	portFluxSourceMetrics
	portFluxSourceHealth
	portFluxHelmMetrics
	portFluxHelmHealth
	portRedis
	portArgoRepo
	portArgoRepoMetrics
	portArgoMetrics
	portsPerCluster
)

func (c *cluster) port(which int) string { return fmt.Sprint(c.portNumber(which)) }

func (c *cluster) portNumber(which int) int {
	return 26400 + portsPerCluster*c.slot + which
}

// registry is the address of the image registry, as image names carry it.
func (c *cluster) registry() string { return fmt.Sprintf("localhost:%d", 5050+c.slot) }

// server is the URL of the API server.
func (c *cluster) server() string { return "https://" + c.nodeIP() + ":" + c.port(portAPI) }

// cgroup is the name of the control group of every pod.
func (c *cluster) cgroup() string { return c.name }

// marker is the file that distinguishes a state folder from a folder that merely was
// named as one by mistake, which down must not remove.
const marker = "harmony-test-cluster"

// claimState makes the state folder and marks it.
func (c *cluster) claimState() error {
	if err := c.checkState(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.state, 0o700); err != nil {
		return err
	}
	text := "The state of a test cluster of harmony: `go run ./test/cluster down` removes it.\n"
	return os.WriteFile(c.path(marker), []byte(text), 0o644)
}

// checkState fails if the state folder contains anything but a cluster's state.
// A cluster that runs in it is proof as well, should somebody have removed files.
func (c *cluster) checkState() error {
	if _, err := os.Stat(c.path(marker)); err == nil {
		return nil
	}
	if list, err := c.processes(); err != nil || len(list) > 0 {
		return err
	}
	entries, err := os.ReadDir(c.state)
	if len(entries) > 0 {
		return badUsage("%s is not empty and does not hold the state of a test cluster: set HARMONY_CLUSTER_STATE to another folder", c.state)
	}
	return ignore(err, fs.ErrNotExist)
}

// path is a file or folder in the state folder.
func (c *cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.state}, elem...)...)
}

func (c *cluster) say(format string, args ...any) {
	fmt.Fprintf(c.out, format+"\n", args...)
}
