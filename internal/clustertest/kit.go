package clustertest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// startLimit is how long a program may take to be ready.
const startLimit = time.Minute

// Kit starts programs for one test.
type Kit struct {
	testing.TB
	// Programs is the folder of the programs, and Dir one for files of the test.
	Programs, Dir string
}

// NewKit has the programs of the test cluster's kit, next to its kubeconfig.
func NewKit(t testing.TB) Kit {
	t.Helper()
	return Kit{TB: t, Programs: filepath.Join(filepath.Dir(Kubeconfig(t)), "bin"), Dir: t.TempDir()}
}

// Write writes a file and returns its path.
func (k Kit) Write(name string, content []byte) string {
	k.Helper()
	path := filepath.Join(k.Dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		k.Fatal(err)
	}
	return path
}

// Start starts a program, which is killed at the end of the test. Variables are
// added to the environment.
func (k Kit) Start(name, program string, variables []string, args ...string) {
	k.Helper()
	var log bytes.Buffer
	cmd := exec.Command(filepath.Join(k.Programs, program), args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Dir, cmd.Env = k.Dir, append(os.Environ(), variables...)
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself, which the log tells
		_ = cmd.Wait()
		if k.Failed() {
			k.Logf("end of the log of %s:\n%s", name, log.Bytes()[max(0, log.Len()-2000):])
		}
	})
}

// Port is a free one.
func (k Kit) Port() string {
	k.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		k.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		k.Fatal(err)
	}
	return port
}

// Await asks until the answer is good.
func (k Kit) Await(name string, ask func(context.Context) error) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), startLimit)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			k.Fatalf("%s is not ready after %s: %v", name, startLimit, err)
		case <-ticker.C:
		}
	}
}
