package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// printEnv prints what a shell needs to use the cluster, for eval.
func (c *cluster) printEnv(w io.Writer) error {
	if _, err := os.Stat(c.kubeconfig()); err != nil {
		return fmt.Errorf("the cluster %s is not up: run `make cluster-up`", c.name)
	}
	fmt.Fprintf(w, "export KUBECONFIG=%s\n", quote(c.kubeconfig()))
	fmt.Fprintf(w, "export HARMONY_REGISTRY=%s\n", quote(c.registry()))
	fmt.Fprintf(w, "export PATH=%s:\"$PATH\"\n", quote(c.path("bin")))
	list, err := c.processes()
	if err == nil && slices.ContainsFunc(list, isMain("dockerd")) {
		fmt.Fprintf(w, "export DOCKER_HOST=%s\n", quote(c.dockerHost()))
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		if os.Getenv(name) != "" {
			fmt.Fprintln(w, `export NO_PROXY="${NO_PROXY:+$NO_PROXY,}198.18.0.0/15,localhost,127.0.0.1"`)
			fmt.Fprintln(w, `export no_proxy="$NO_PROXY"`)
			break
		}
	}
	return err
}

// quote makes one word of a shell command out of a text.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// status prints every component and fails unless all run.
func (c *cluster) status(w io.Writer) error {
	list, err := c.processes()
	if err != nil {
		return err
	}
	missing := 0
	wanted := forAll
	if slices.ContainsFunc(list, isMain("dockerd")) {
		wanted = forTests
	}
	for _, p := range append(c.components(wanted), c.controllers(wanted)...) {
		i := slices.IndexFunc(list, isMain(p.name))
		if i < 0 {
			missing++
			fmt.Fprintf(w, "%-24s stopped\n", p.name)
			continue
		}
		fmt.Fprintf(w, "%-24s running  pid %d\n", p.name, list[i].pid)
	}
	if missing > 0 {
		return fmt.Errorf("%d components of %s do not run: see `make cluster-up`", missing, c.name)
	}
	return nil
}

// runCurrent carries out the command on the cluster of the current kube context,
// which is the user's own: nothing is started, stopped or changed.
func runCurrent(ctx context.Context, command string, stdout, stderr io.Writer) error {
	switch command {
	case "down":
		fmt.Fprintln(stderr, "CLUSTER=current: nothing to stop")
		return nil
	case "env":
		return nil
	}
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		return unsupported("CLUSTER=current needs kubectl on the PATH")
	}
	name, err := exec.CommandContext(ctx, kubectl, "config", "current-context").Output()
	if err != nil {
		return unsupported("CLUSTER=current: there is no current kube context")
	}
	answer, err := exec.CommandContext(ctx, kubectl, "get", "--raw=/readyz", "--request-timeout=10s").CombinedOutput()
	if err != nil {
		return fmt.Errorf("the current kube context %s does not answer: %w\n%s", strings.TrimSpace(string(name)), err, tail(answer, 5))
	}
	fmt.Fprintf(stdout, "the current kube context %s answers\n", strings.TrimSpace(string(name)))
	return nil
}
