package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// builders are the tools that build images: the Docker daemon of the environment,
// a buildkitd of this run's own, and harmony.
type builders struct {
	bench    *bench
	docker   string // the client; empty when there is none
	address  string // of buildkitd
	daemon   *exec.Cmd
	registry string // host, and a prefix of this run alone
}

// startBuilders starts buildkitd and waits for it.
func startBuilders(ctx context.Context, b *bench) (*builders, error) {
	t := &builders{
		bench: b, address: "unix://" + b.path("buildkitd.sock"),
		registry: fmt.Sprintf("%s/bench-%d", os.Getenv("HARMONY_REGISTRY"), time.Now().UnixNano()),
	}
	var err error
	if t.docker, err = findDocker(ctx); err != nil {
		b.say("NO DOCKER: the rows against docker are left out: %v", err)
	}
	log, err := os.Create(b.path("buildkitd.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	t.daemon = exec.Command("buildkitd", "--root", b.path("buildkitd"), "--addr", t.address, "--oci-worker-binary", "runc")
	t.daemon.Stdout, t.daemon.Stderr = log, log
	t.daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C ends it through stop
	if err := t.daemon.Start(); err != nil {
		return nil, err
	}
	err = poll(ctx, 30*time.Second, func() error {
		_, err := output(ctx, "buildctl", "--addr", t.address, "debug", "workers")
		return err
	})
	if err != nil {
		text, readErr := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("buildkitd: %w\n%s", err, end(string(text))), readErr, t.stop())
	}
	return t, nil
}

// stop ends buildkitd.
func (t *builders) stop() error {
	if err := t.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.AfterFunc(20*time.Second, func() { t.daemon.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := t.daemon.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// ours builds the source by harmony, with a containerBuilder of these fields.
func (t *builders) ours(s source, provider string, flags ...string) (command, error) {
	argv := append([]string{"harmony", "build", "--topology=bench"}, flags...)
	c := command{name: "harmony build", argv: argv, dir: s.root, env: []string{"XDG_CACHE_HOME=" + s.cache()}}
	return c, s.configure(t.registry, provider)
}

// dockerBuild builds the source by docker's client and BuildKit. Without a
// client, it is no command.
func (t *builders) dockerBuild(s source, flags ...string) command {
	c := command{name: "docker build", env: []string{"DOCKER_BUILDKIT=1"}}
	if t.docker != "" {
		tag := "harmony-bench-" + s.name
		c.argv = append([]string{t.docker, "build", "--quiet", "--tag", tag, s.context()}, flags...)
	}
	return c
}

// buildctl builds the source by BuildKit's own client.
func (t *builders) buildctl(s source, flags ...string) command {
	argv := []string{
		"buildctl", "--addr", t.address, "build", "--progress=plain", "--frontend=dockerfile.v0",
		"--local=context=" + s.context(), "--local=dockerfile=" + s.context(),
	}
	return command{name: "buildctl build", argv: append(argv, flags...)}
}

// afresh makes harmony's command forget all that it has built of the source.
func afresh(s source, c command) command {
	c.before = func(context.Context) error { return os.RemoveAll(s.cache()) }
	return c
}

// pruned makes a peer's command forget all that it has built.
func (t *builders) pruned(c command) command {
	prune := command{name: "buildctl prune", argv: []string{"buildctl", "--addr", t.address, "prune", "--all"}}
	if c.name == "docker build" {
		prune = command{name: "docker prune", argv: []string{t.docker, "builder", "prune", "--all", "--force"}}
	}
	c.before = prune.run
	return c
}

// compare runs ours and the peers in turn and makes a row for each peer.
func (t *builders) compare(ctx context.Context, what string, rounds int, limit budget, ours command, peers ...command) ([]row, error) {
	commands := []command{ours}
	var missing []row
	for _, peer := range peers {
		if len(peer.argv) == 0 {
			missing = append(missing, row{what: what, against: peer.name, budget: limit, note: "NO DOCKER: not compared"})
			continue
		}
		commands = append(commands, peer)
	}
	times, err := interleave(ctx, t.bench.rounds(rounds), commands...)
	if err != nil {
		return nil, err
	}
	for i := range missing {
		missing[i].times = times[0]
	}
	var names []string
	for _, c := range commands[1:] {
		names = append(names, c.name)
	}
	return append(compare(what, times[0], limit, names, times[1:]), missing...), nil
}
