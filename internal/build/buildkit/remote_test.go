package buildkit

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
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Builders that are reached by ssh and docker: the real programs.

func TestSSH(t *testing.T) {
	_, buildctl := clustertest.BuildKit(t)
	d, base := startReady(t), pushBusybox(t)
	server := clustertest.StartSSHD(t, "PATH="+filepath.Dir(buildctl)+":/usr/bin:/bin")
	address := "ssh://" + server.Login + strings.TrimPrefix(d.address, "unix://")
	p := newProject(t, map[string]any{"address": address}, map[string]string{
		"Dockerfile": "FROM " + base + "\nCOPY a /a\nRUN cat /a /a > /b\n", "a": "content",
	}).withRegistry()
	if files := contents(t, p.mustBuild()); files["a"] != "content" || files["b"] != "contentcontent" {
		t.Errorf("a is %q, b is %q", files["a"], files["b"])
	}

	p.write(map[string]string{"Dockerfile": "FROM " + base + "\nRUN sleep 300\n"})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := p.build(ctx)
		ended <- err
	}()
	eventually(t, func() bool { return len(sleepers(t, d)) > 0 })
	if len(server.Connections()) == 0 {
		t.Error("a build is under way that needs no connection")
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the build does not end when it is cancelled")
	}
	eventually(t, func() bool { return len(server.Connections()) == 0 && len(sleepers(t, d)) == 0 })

	server.ReplaceKey()
	p.write(map[string]string{"Dockerfile": "FROM scratch\nCOPY a /c\n"})
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := p.build(ctx)
	if ctx.Err() != nil || protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "Permission denied (publickey)") ||
		!strings.Contains(protocol.HintOf(err), "ssh 127.0.0.1") {
		t.Errorf("with a key that the server does not know: %v (%s)", err, protocol.HintOf(err))
	}
}

func TestDockerContainer(t *testing.T) {
	t.Setenv("DOCKER_HOST", clustertest.Docker(t))
	// Debian's client comes before others that the machine may have.
	t.Setenv("PATH", "/usr/bin:"+os.Getenv("PATH"))
	address := "docker-container://" + runWorker(t)
	shell, err := os.ReadFile("/bin/busybox")
	must(t, err)
	p := newProject(t, map[string]any{"address": address}, map[string]string{
		"Dockerfile": "FROM scratch\nCOPY sh /bin/sh\nCOPY a /a\nRUN read x < /a; echo \"$x $x\" > /b\n", "a": "content", "sh": string(shell),
	}).withRegistry()
	must(t, os.Chmod(filepath.Join(p.app.ProjectRoot, "sh"), 0o755))
	if files := contents(t, p.mustBuild()); files["a"] != "content" || files["b"] != "content content\n" {
		t.Errorf("a is %q, b is %q", files["a"], files["b"])
	}
	_, err = newProject(t, map[string]any{"address": address + "-not"}, scratchFiles).build(t.Context())
	if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "No such container") || !strings.Contains(protocol.HintOf(err), "docker start") {
		t.Errorf("without the container: %v (%s)", err, protocol.HintOf(err))
	}
}

// runWorker runs buildkitd in a container of the test, whose name it returns.
func runWorker(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("harmony-test-buildkitd-%d", time.Now().UnixNano())
	docker(t, workerFiles(t), "import", "--change", `ENTRYPOINT ["buildkitd"]`, "--change", "ENV PATH=/usr/bin", "--change", "VOLUME /var/lib/buildkit", "-", name)
	t.Cleanup(func() { docker(t, nil, "image", "rm", name) })
	// What --privileged gives, but for SYS_RESOURCE: docker would ask for it also
	// where the machine's own root does not have it, and buildkitd does without.
	docker(t, nil, "create", "--name", name, "--network", "none",
		"--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--device-cgroup-rule", "a *:* rwm",
		"--security-opt", "apparmor=unconfined", "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined",
		"--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup", name)
	t.Cleanup(func() { docker(t, nil, "rm", "--force", "--volumes", name) })
	t.Cleanup(func() { docker(t, nil, "stop", name) }) // it removes the control groups that it made
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("buildkitd: %s", docker(t, nil, "logs", name))
		}
	})
	docker(t, nil, "start", name)
	(&daemon{address: "docker-container://" + name}).ready(t, tlsFiles{})
	return name
}

// docker runs the client that the adapter finds as well, also when the test is over.
func docker(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdin = stdin
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", args[0], err, output)
	}
	return string(output)
}

// workerFiles are those of an image of BuildKit, and of this machine's runc with
// its libraries.
func workerFiles(t *testing.T) io.Reader {
	t.Helper()
	buildkitd, buildctl := clustertest.BuildKit(t)
	runc, err := exec.LookPath("runc")
	must(t, err)
	files := map[string]string{"usr/bin/buildkitd": buildkitd, "usr/bin/buildctl": buildctl, "usr/bin/runc": runc}
	libraries, err := exec.Command("ldd", runc).Output()
	if err != nil && !bytes.Contains(libraries, []byte("not a dynamic executable")) {
		t.Fatal(err)
	}
	for _, library := range regexp.MustCompile(`/\S+`).FindAllString(string(libraries), -1) {
		files[strings.TrimPrefix(library, "/")] = library
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	must(t, w.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}))
	for name, path := range files {
		content, err := os.ReadFile(path)
		must(t, err)
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}))
		_, err = w.Write(content)
		must(t, err)
	}
	must(t, w.Close())
	return &image
}
