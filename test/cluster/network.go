package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// setUpNetwork makes the interface that has the node's address, and lets pods
// speak to each other and to the world.
func (c *cluster) setUpNetwork(ctx context.Context) error {
	if err := c.saveSysctls(); err != nil {
		return err
	}
	if err := setUpBridge(ctx, c.device(), c.nodeIP()+"/32"); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return err
	}
	for _, rule := range c.rules() {
		if command(ctx, "iptables", rule.with("-C")...) == nil {
			continue
		}
		if err := command(ctx, "iptables", rule.with("-I")...); err != nil {
			return err
		}
	}
	return nil
}

// setUpDocker makes the bridge of the Docker daemon's containers. The daemon would
// make one itself, but only one of a name that another daemon may have.
func (c *cluster) setUpDocker(ctx context.Context, wanted use) error {
	if wanted < forTests {
		return nil
	}
	return setUpBridge(ctx, c.dockerDevice(), c.dockerCIDR())
}

// setUpBridge makes a bridge without ports, unless it is there, and gives it the
// address: every kernel that can run containers has bridges.
func setUpBridge(ctx context.Context, device, address string) error {
	if _, err := net.InterfaceByName(device); err != nil {
		if err := command(ctx, "ip", "link", "add", device, "type", "bridge"); err != nil {
			return err
		}
	}
	if err := command(ctx, "ip", "address", "replace", address, "dev", device); err != nil {
		return err
	}
	return command(ctx, "ip", "link", "set", device, "up")
}

// checkOtherProxy fails if the rules of another Kubernetes' kube-proxy are here:
// two would undo each other's work. Where our interface is, the rules are ours.
func (c *cluster) checkOtherProxy(ctx context.Context) error {
	if _, err := net.InterfaceByName(c.device()); err == nil || c.slot != 0 {
		return nil
	}
	if command(ctx, "iptables", "-w", "-t", "nat", "-n", "-L", "KUBE-SERVICES") == nil {
		return unsupported("another Kubernetes runs on this machine (iptables has the chain KUBE-SERVICES): use it with CLUSTER=current")
	}
	return nil
}

// networkIsOurs reports whether this cluster has begun to set up its network.
func (c *cluster) networkIsOurs() bool {
	_, err := os.Stat(c.path("sysctl.json"))
	return err == nil
}

// rule is one rule of the machine's packet filter.
type rule struct {
	table, chain string
	spec         []string
}

// with gives iptables' arguments that check, insert or delete the rule.
func (r rule) with(action string) []string {
	return append([]string{"-w", "-t", r.table, action, r.chain}, r.spec...)
}

// rules let pods' packets pass on a machine whose default is to drop them, and
// give packets that leave for elsewhere the machine's own address. A packet to a
// service that kube-proxy does not know yet is refused at once: it would be lost
// outside of the machine, and its caller would wait for long.
func (c *cluster) rules() []rule {
	comment := []string{"-m", "comment", "--comment", c.name}
	spec := func(words string) []string { return append(strings.Fields(words), comment...) }
	return []rule{
		{"filter", "FORWARD", spec("-j ACCEPT -s " + c.podCIDR())},
		{"filter", "FORWARD", spec("-j ACCEPT -d " + c.podCIDR())},
		{"nat", "POSTROUTING", spec("-j MASQUERADE -s " + c.podCIDR() + " ! -d 198.18.0.0/15")},
		{"filter", "FORWARD", spec("-j REJECT -d " + c.serviceCIDR())}, // inserted later, so it comes first
		{"filter", "OUTPUT", spec("-j REJECT -d " + c.serviceCIDR())},
	}
}

// tearDownNetwork undoes setUpNetwork, and what kube-proxy did.
func (c *cluster) tearDownNetwork(ctx context.Context) error {
	if !c.networkIsOurs() {
		return nil
	}
	var failed error
	for _, rule := range c.rules() {
		for command(ctx, "iptables", rule.with("-C")...) == nil {
			if err := command(ctx, "iptables", rule.with("-D")...); err != nil {
				failed = errors.Join(failed, err)
				break
			}
		}
	}
	if c.slot == 0 {
		failed = errors.Join(failed, c.removeProxyRules(ctx))
	}
	for _, device := range []string{c.device(), c.dockerDevice()} {
		if _, err := net.InterfaceByName(device); err == nil {
			failed = errors.Join(failed, command(ctx, "ip", "link", "delete", device))
		}
	}
	if others, err := c.otherClusters(); err != nil || others {
		return errors.Join(failed, err)
	}
	return errors.Join(failed, c.restoreSysctls())
}

// otherClusters reports whether another cluster of the kit has an interface here:
// it needs the kernel settings as they are.
func (c *cluster) otherClusters() (bool, error) {
	interfaces, err := net.Interfaces()
	return slices.ContainsFunc(interfaces, func(i net.Interface) bool {
		return i.Name != c.device() && i.Name != c.dockerDevice() && strings.HasPrefix(i.Name, "harmony")
	}), err
}

// removeProxyRules removes the chains of kube-proxy and of the kubelet, and every
// rule that leads to them.
func (c *cluster) removeProxyRules(ctx context.Context) error {
	for _, tool := range []string{"iptables", "ip6tables"} {
		saved, err := exec.CommandContext(ctx, tool+"-save").Output()
		if err != nil {
			return fmt.Errorf("%s-save: %w", tool, err)
		}
		script := removal(string(saved))
		if script == "" {
			continue
		}
		restore := exec.CommandContext(ctx, tool+"-restore", "-w", "--noflush")
		restore.Stdin = strings.NewReader(script)
		if output, err := restore.CombinedOutput(); err != nil {
			return fmt.Errorf("%s-restore: %w\n%s", tool, err, tail(output, 5))
		}
	}
	return nil
}

// removal reads the output of iptables-save and gives the input for
// iptables-restore that removes all chains whose names start with KUBE-.
func removal(saved string) string {
	var script, flush, rules, chains strings.Builder
	for line := range strings.Lines(saved) {
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "*"):
			flush.Reset()
			rules.Reset()
			chains.Reset()
			flush.WriteString(line)
		case strings.HasPrefix(line, ":KUBE-"):
			name := strings.TrimPrefix(words[0], ":")
			fmt.Fprintf(&flush, ":%s - [0:0]\n", name) // empties it
			fmt.Fprintf(&chains, "-X %s\n", name)
		case strings.HasPrefix(line, "-A ") && !strings.HasPrefix(line, "-A KUBE-") && strings.Contains(line, "-j KUBE-"):
			rules.WriteString("-D" + strings.TrimPrefix(line, "-A"))
		case strings.HasPrefix(line, "COMMIT") && chains.Len() > 0:
			script.WriteString(flush.String() + rules.String() + chains.String() + line)
		}
	}
	return script.String()
}

// sysctls are the kernel settings that the kit, the kubelet and the network
// plugins change.
var sysctls = [...]string{
	"net/ipv4/ip_forward", "kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// saveSysctls keeps the settings as they were before the first start.
func (c *cluster) saveSysctls() error {
	if c.networkIsOurs() {
		return nil
	}
	values := map[string]string{}
	for _, name := range sysctls {
		if value, err := os.ReadFile(filepath.Join("/proc/sys", name)); err == nil {
			values[name] = strings.TrimSpace(string(value))
		}
	}
	text, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return writeFile(c.path("sysctl.json"), text, 0o644)
}

// restoreSysctls gives the settings back the values that were saved.
func (c *cluster) restoreSysctls() error {
	text, err := os.ReadFile(c.path("sysctl.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var values map[string]string
	if err := json.Unmarshal(text, &values); err != nil {
		return fmt.Errorf("%s: %w", c.path("sysctl.json"), err)
	}
	var failed error
	for _, name := range sysctls {
		if value, ok := values[name]; ok {
			failed = errors.Join(failed, os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0))
		}
	}
	return failed
}

// command runs a command of the system, quietly: what it said is in the error.
func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PATH="+systemPath)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(output, 5))
	}
	return nil
}
