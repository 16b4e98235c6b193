package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nationtech/harmony/internal/registry/server"
	"github.com/nationtech/harmony/pkg/protocol"
)

// asCommand makes the test binary be harmony-registry, the processes that it
// starts too.
const asCommand = "HARMONY_REGISTRY_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" || len(os.Args) > 1 && os.Args[1] == "serve" { // started by up, with no variables
		main()
	}
	os.Exit(m.Run())
}

// harmony runs the command in a process of its own.
func harmony(t *testing.T, state string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], append(args, "--state", state)...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("%s: %v, %s", args, err, &errs)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func state(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		if _, stderr, code := harmony(t, dir, "down"); code != 0 {
			t.Errorf("down: %s", stderr)
		}
	})
	return dir
}

func status(t *testing.T, dir string) (s server.Status) {
	t.Helper()
	stdout, stderr, code := harmony(t, dir, "status", "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatalf("%v in %q, %s", err, stdout, stderr)
	}
	if want := map[bool]int{true: 0, false: 1}[s.Running]; code != want || stderr != "" {
		t.Errorf("status of %+v is %d, %s", s, code, stderr)
	}
	return s
}

func push(address, tag string) error {
	image, err := random.Image(1<<16, 2)
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(address + "/image:" + tag)
	if err != nil {
		return err
	}
	return remote.Write(ref, image, remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
}

func TestUpStatusDown(t *testing.T) {
	t.Setenv("HARMONY_REGISTRY_PASSWORD", "s3cret")
	dir := state(t)
	if s := status(t, dir); s.Running || s.DataBytes != 0 {
		t.Errorf("got %+v", s)
	}
	if stdout, _, code := harmony(t, dir, "down"); code != 0 || !strings.Contains(stdout, "not running") {
		t.Errorf("got %d, %s", code, stdout)
	}
	if _, stderr, code := harmony(t, dir, "up", "--addr", "127.0.0.1:0"); code != 0 {
		t.Fatalf("got %d, %s", code, stderr)
	}
	first := status(t, dir)
	if !first.Running || first.PID == 0 {
		t.Fatalf("got %+v", first)
	}
	if environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", first.PID)); err == nil && bytes.Contains(environ, []byte("PASSWORD")) {
		t.Errorf("it keeps %q", environ)
	}
	if err := push(first.Address, "1"); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := harmony(t, dir, "up"); code != 0 {
		t.Errorf("up again: %d, %s", code, stderr)
	}
	again := status(t, dir)
	if again.PID != first.PID || again.DataBytes == 0 {
		t.Errorf("got %+v after %+v", again, first)
	}
	if _, stderr, code := harmony(t, dir, "up", "--addr", "127.0.0.1:1"); code != 1 || !strings.Contains(stderr, "already runs at "+first.Address) {
		t.Errorf("up elsewhere: %d, %s", code, stderr)
	}
	if _, stderr, code := harmony(t, dir, "serve", "--addr", "127.0.0.1:0"); code != 1 || !strings.Contains(stderr, fmt.Sprintf("process %d already serves", first.PID)) {
		t.Errorf("serve: %d, %s", code, stderr)
	}
	if stdout, _, code := harmony(t, dir, "down"); code != 0 || !strings.Contains(stdout, fmt.Sprint(first.PID)) {
		t.Errorf("down: %d, %s", code, stdout)
	}
	if _, err := net.Dial("tcp", first.Address); err == nil {
		t.Error("it still listens")
	}
	if log, err := os.ReadFile(first.Log); err != nil || !strings.HasSuffix(string(log), "registry stopped\n") {
		t.Errorf("it was not let to end by itself: %v, log %s", err, log)
	}
	// The storage stays.
	if _, stderr, code := harmony(t, dir, "up", "--addr", first.Address); code != 0 {
		t.Fatalf("got %d, %s", code, stderr)
	}
	complete(t, first.Address)
}

func TestUpAtOnce(t *testing.T) {
	dir := state(t)
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			if _, stderr, code := harmony(t, dir, "up", "--addr", "127.0.0.1:0"); code != 0 {
				t.Errorf("got %d, %s", code, stderr)
			}
		})
	}
	group.Wait()
	if !status(t, dir).Running {
		t.Error("it does not run")
	}
}

func TestUpTellsWhyNot(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"port in use", []string{"up", "--addr", listener.Addr().String()}, 1, "another program listens at " + listener.Addr().String()},
		{"reachable", []string{"up", "--addr", "0.0.0.0:0"}, 2, "can be reached from other machines"},
		{"reachable by name", []string{"serve", "--addr", ":5001"}, 2, "--allow-remote"},
		{"no port", []string{"serve", "--addr", "127.0.0.1"}, 2, "is not host:port"},
		{"unknown flag", []string{"up", "--nope"}, 2, "unknown flag"},
		{"argument", []string{"up", "now"}, 2, "unknown command"},
		{"output", []string{"status", "-o", "yaml"}, 2, `"yaml"`},
	}
	for _, test := range tests {
		stdout, stderr, code := harmony(t, state(t), test.args...)
		if code != test.code || !strings.Contains(stderr, test.want) || stdout != "" {
			t.Errorf("%s: got %d, %s%s; want %d, %q", test.name, code, stdout, stderr, test.code, test.want)
		}
	}
}

func TestAllowRemote(t *testing.T) {
	dir := state(t)
	_, stderr, code := harmony(t, dir, "up", "--addr", "0.0.0.0:0", "--allow-remote")
	if code != 0 || !strings.Contains(stderr, "warning: the registry has no accounts") {
		t.Errorf("got %d, %s", code, stderr)
	}
}

func TestDescribe(t *testing.T) {
	stdout, _, code := harmony(t, t.TempDir(), "describe")
	d, err := protocol.Parse([]byte(stdout))
	if err != nil || code != 0 {
		t.Fatalf("%d, %v in %q", code, err, stdout)
	}
	info, err := protocol.Decode[protocol.PluginInfo](d)
	if err != nil || info.Name != "registry" || info.Stage != "" || info.Protocol.Max != protocol.ProtocolMax {
		t.Errorf("got %+v, %v", info, err)
	}
	version, _, _ := harmony(t, t.TempDir(), "version")
	if strings.TrimSpace(version) != info.Version {
		t.Errorf("version is %q, described as %q", version, info.Version)
	}
}

// A registry that is killed in the middle of pushes has no tag without all of
// its blobs, and goes on afterwards.
func TestKilledRegistryIsWhole(t *testing.T) {
	dir := state(t)
	address := "127.0.0.1:0"
	for round := range 6 {
		if _, stderr, code := harmony(t, dir, "up", "--addr", address); code != 0 {
			t.Fatalf("round %d: %d, %s", round, code, stderr)
		}
		running := status(t, dir)
		address = running.Address
		complete(t, address)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		pushed := make(chan struct{}, 1)
		for pusher := range 4 {
			group.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					if push(address, fmt.Sprintf("%d-%d-%d", round, pusher, i)) != nil {
						return // it was killed
					}
					select {
					case pushed <- struct{}{}:
					default:
					}
				}
			})
		}
		<-pushed
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond) // a random moment of the next pushes
		if err := syscall.Kill(running.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		cancel()
		group.Wait()
		waitGone(t, dir)
	}
	if _, stderr, code := harmony(t, dir, "up", "--addr", address); code != 0 {
		t.Fatalf("got %d, %s", code, stderr)
	}
	if n := complete(t, address); n < 6 {
		t.Errorf("only %d tags are there", n)
	}
}

func waitGone(t *testing.T, dir string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for status(t, dir).Running {
		if time.Now().After(deadline) {
			t.Fatal("it still runs after SIGKILL")
		}
	}
}

// complete looks that every tag has all of its blobs, and counts the tags.
func complete(t *testing.T, address string) int {
	t.Helper()
	repository, err := name.NewRepository(address + "/image")
	if err != nil {
		t.Fatal(err)
	}
	tags, err := remote.List(repository)
	if err != nil {
		return 0 // no repository yet
	}
	for _, tag := range tags {
		err := whole(repository.Tag(tag))
		if err != nil && strings.Contains(err.Error(), "unknown tag="+tag) {
			// Only its folder was made: it is listed, but is no tag to a reader,
			// and the next push makes it one.
			if err = push(address, tag); err == nil {
				err = whole(repository.Tag(tag))
			}
		}
		if err != nil {
			t.Errorf("tag %s: %v", tag, err)
		}
	}
	return len(tags)
}

func whole(tag name.Tag) error {
	var image v1.Image
	image, err := remote.Image(tag)
	if err != nil {
		return err
	}
	return validate.Image(image)
}
