package differential

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/tonistiigi/fsutil"
)

// builder is a BuildKit of this test.
type builder struct{ client *client.Client }

// startBuildKit starts a buildkitd that ends with the test.
func startBuildKit(t *testing.T, registry string) builder {
	t.Helper()
	program := os.Getenv("HARMONY_TEST_BUILDKITD")
	if program == "" {
		missing(t, "HARMONY_TEST_BUILDKITD")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "buildkitd.toml")
	host, _, _ := strings.Cut(registry, "/")
	put(t, config, fmt.Appendf(nil, "[registry.%q]\nhttp = true\ninsecure = true\n[worker.containerd]\nenabled = false\n", host))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	address := "unix://" + filepath.Join(dir, "socket")
	daemon := exec.Command(program, "--config", config, "--root", filepath.Join(dir, "root"), "--addr", address, "--oci-worker-binary", "runc")
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, daemon, log) })
	c, err := client.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Wait(ctx); err != nil {
		t.Fatalf("buildkitd: %v", err)
	}
	return builder{c}
}

// missing skips the test, but fails it in CI.
func missing(t *testing.T, variable string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("needs the test cluster: %s is not set", variable)
	}
	t.Skipf("needs the test cluster: %s is not set", variable)
}

func stop(t *testing.T, daemon *exec.Cmd, log *os.File) {
	t.Helper()
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = daemon.Process.Kill() })
	defer timer.Stop()
	err := daemon.Wait()
	if t.Failed() {
		if said, err := os.ReadFile(log.Name()); err == nil {
			t.Logf("buildkitd: %s", said[max(0, len(said)-2000):])
		}
	}
	if err := errors.Join(err, log.Close()); err != nil && !t.Failed() {
		t.Logf("buildkitd: %v", err)
	}
}

// build builds a case and returns the OCI layout.
func (b builder) build(ctx context.Context, c testCase) (content, error) {
	local, err := fsutil.NewFS(c.dir)
	if err != nil {
		return nil, err
	}
	attributes := map[string]string{"filename": c.dockerfile, "platform": c.platform, "target": c.target}
	for name, value := range c.args {
		attributes["build-arg:"+name] = value
	}
	var out bytes.Buffer
	_, err = b.client.Solve(ctx, nil, client.SolveOpt{
		Frontend: "dockerfile.v0", FrontendAttrs: attributes,
		LocalMounts: map[string]fsutil.FS{"context": local, "dockerfile": local},
		Exports: []client.ExportEntry{{
			Type:   client.ExporterOCI,
			Output: func(map[string]string) (io.WriteCloser, error) { return unclosed{&out}, nil },
		}},
	}, nil)
	if err != nil {
		return nil, err
	}
	return untar(&out)
}

type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// untar reads a layout that is a tar archive.
func untar(r io.Reader) (content, error) {
	files := map[string][]byte{}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if files[h.Name], err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
	return func(name string) ([]byte, error) {
		data, ok := files[name]
		if !ok {
			return nil, fmt.Errorf("layout has no %s", name)
		}
		return data, nil
	}, nil
}
