package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// systemPath is the PATH of every process that the kit starts.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// cniPlugins is where Debian installs the network plugins.
const cniPlugins = "/usr/lib/cni"

// policyFile, while it exists, keeps Debian's packages from starting services.
const policyFile = "/usr/sbin/policy-rc.d"

const policy = "#!/bin/sh\n# Written by harmony's test/cluster while it installs packages.\nexit 101\n"

// tool is a file that the cluster runs, with the Debian package that has it.
type tool struct {
	file, pkg string
	use       use
}

func tools() []tool {
	return []tool{
		{file: "/usr/bin/containerd", pkg: "containerd"},
		{file: "/usr/sbin/runc", pkg: "runc"},
		{file: cniPlugins + "/ptp", pkg: "containernetworking-plugins"},
		{file: "/usr/bin/docker-registry", pkg: "docker-registry"},
		{file: "/usr/sbin/iptables", pkg: "iptables"},
		{file: "/usr/sbin/ip", pkg: "iproute2"},
		{file: "/usr/bin/mount", pkg: "mount"},
		{file: "/usr/sbin/dockerd", pkg: "docker.io", use: forTests},
		{file: "/bin/busybox", pkg: "busybox-static", use: forTests},        // what images of tests run
		{file: "/usr/bin/redis-server", pkg: "redis-server", use: forTests}, // Argo CD's
		{file: "/usr/bin/jq", pkg: "jq", use: forTests},                     // an example plugin's
		{file: "/usr/bin/skopeo", pkg: "skopeo", use: forTests},             // reads what is published
		{file: "/usr/sbin/sshd", pkg: sshServer, use: forTests},             // tests run it on ports of their own
		{file: "/usr/bin/ssh", pkg: "openssh-client", use: forTests},        // builders and daemons at ssh:// are reached by it
		{file: "/usr/bin/gcc", pkg: "gcc", use: forTests},                   // the race detector's
		{file: "/usr/include/stdlib.h", pkg: "libc6-dev", use: forTests},    // gcc's
		{file: "/usr/bin/podman", pkg: "podman", use: forTests},             // another daemon with Docker's API
		{file: "/usr/bin/python3", pkg: "python3", use: forTests},           // example plugins'
		{file: "/usr/bin/xz", pkg: "xz-utils", use: forTests},               // makes an archive that ADD unpacks
		{file: "/usr/bin/setpriv", pkg: "util-linux", use: forTests},        // runs a test as another user
		{file: "/usr/bin/git", pkg: "git", use: forLint},
		{file: "/usr/bin/make", pkg: "make", use: forLint},
		{file: "/usr/bin/shellcheck", pkg: "shellcheck", use: forLint},
	}
}

// checkMachine says why a cluster cannot run here, if it cannot.
func checkMachine() error {
	const instead = "; CLUSTER=current uses the cluster of your kube context instead"
	if runtime.GOOS != "linux" {
		return unsupported("the test cluster runs on Linux, this is %s"+instead, runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return unsupported("the test cluster needs root" + instead)
	}
	return nil
}

// sshServer is the package of sshd.
const sshServer = "openssh-server"

// needs reports whether the use takes in the tool: linting is part of the tests
// and of the benchmarks, but a cluster is no part of linting.
func (t tool) needs(wanted use) bool {
	if t.use == forLint || wanted == forLint {
		return t.use == wanted || wanted >= forTests
	}
	return t.use <= wanted
}

// installTools installs the Debian packages of the tools that are missing. Their
// services are not started.
func (c *cluster) installTools(ctx context.Context, wanted use) error {
	var missing []string
	for _, t := range tools() {
		if _, err := os.Stat(t.file); err != nil && t.needs(wanted) {
			missing = append(missing, t.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := os.Stat("/etc/debian_version"); err != nil {
		return unsupported("this is not Debian: install %s", strings.Join(missing, ", "))
	}
	if os.Geteuid() != 0 {
		return unsupported("%s must be installed, which needs root", strings.Join(missing, ", "))
	}
	if err := removePolicy(); err != nil {
		return err
	}
	c.say("installing %s", strings.Join(missing, ", "))
	if err := writePolicy(); err != nil {
		return err
	}
	if slices.Contains(missing, sshServer) {
		if err := keepSSHDown(); err != nil {
			return err
		}
	}
	return errors.Join(aptInstall(ctx, missing), removePolicy())
}

func aptInstall(ctx context.Context, packages []string) error {
	install := append([]string{"install", "--yes", "--no-install-recommends"}, packages...)
	for _, args := range [][]string{{"update"}, install} {
		cmd := exec.CommandContext(ctx, "apt-get", slices.Concat([]string{"-q", "-o", "DPkg::Lock::Timeout=300"}, args)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, tail(output, 15))
		}
	}
	return nil
}

// keepSSHDown has a server that this installs stay down after the next start of
// the machine too: its service looks for this file.
func keepSSHDown() error {
	const file = "/etc/ssh/sshd_not_to_be_run"
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, nil, 0o644)
}

// writePolicy forbids packages to start services, unless the machine has a
// policy of its own.
func writePolicy() error {
	file, err := os.OpenFile(policyFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("forbid services to start: %w", err)
	}
	_, err = file.WriteString(policy)
	return errors.Join(err, file.Close())
}

// removePolicy removes what writePolicy wrote, also in a run that was killed.
func removePolicy() error {
	content, err := os.ReadFile(policyFile)
	if err != nil || !bytes.HasPrefix([]byte(policy), content) {
		return nil
	}
	return os.Remove(policyFile)
}
