package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/nationtech/harmony/internal/clustertest/tgz"
	"github.com/nationtech/harmony/internal/plugins/artifact"
)

// asPlugin makes the test binary harmony-plugin itself.
const asPlugin = "HARMONY_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		main()
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sandbox is one user with a home and a project.
type sandbox struct {
	t             testing.TB
	home, project string
	env           []string
}

func newSandbox(t testing.TB, env ...string) *sandbox {
	t.Helper()
	s := &sandbox{t: t, home: filepath.Join(t.TempDir(), "home"), project: filepath.Join(t.TempDir(), "project")}
	must(t, errors.Join(os.Mkdir(s.home, 0o755), os.Mkdir(s.project, 0o755)))
	must(t, os.WriteFile(filepath.Join(s.project, "harmony.yaml"), []byte(projectYAML), 0o644))
	s.env = append([]string{
		asPlugin + "=1", "HOME=" + s.home, "PATH=" + s.bin() + ":/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM=1",
	}, env...)
	return s
}

const projectYAML = `apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: ours}
spec:
  smoke: {plugin: harmony-foo}
  targets: {staging: {inCluster: {namespace: x}}}
`

func (s *sandbox) bin() string  { return filepath.Join(s.home, ".local/share/harmony/bin") }
func (s *sandbox) lock() string { return filepath.Join(s.project, "harmony-plugins.lock") }

func (s *sandbox) command(ctx context.Context, args ...string) *exec.Cmd {
	self, err := os.Executable()
	must(s.t, err)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Dir, cmd.Env = s.project, s.env
	return cmd
}

// run returns the exit status and what was said.
func (s *sandbox) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	cmd := s.command(s.t.Context(), args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), said.String()
}

// must runs a command that has to succeed, and returns its stdout.
func (s *sandbox) must(args ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.run(args...)
	if code != 0 {
		s.t.Fatalf("harmony plugin %s: exit status %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// use configures the one index, of the name corp.
func (s *sandbox) use(url string) {
	s.t.Helper()
	s.must("index", "add", "corp", url)
	s.must("index", "remove", "default")
}

// refuse runs a command that has to fail with the status, saying that.
func (s *sandbox) refuse(status int, want string, args ...string) {
	s.t.Helper()
	code, stdout, stderr := s.run(args...)
	if code != status || !strings.Contains(stdout+stderr, want) {
		s.t.Errorf("harmony plugin %s: exit status %d, want %d and %q\n%s%s", strings.Join(args, " "), code, status, want, stdout, stderr)
	}
}

// says is what the installed plugin prints: it is run.
func (s *sandbox) says(name string) string { return s.saidBy(s.bin(), "harmony-"+name) }

// synced is what the plugin prints that was installed for the project.
func (s *sandbox) synced(name string) string {
	folder, err := artifact.ProjectStore(func(string) string { return s.home }, s.project)
	must(s.t, err)
	return s.saidBy(strings.Replace(folder, s.home+"/harmony", s.home+"/.local/share/harmony", 1), artifact.Bin, "harmony-"+name)
}

func (s *sandbox) saidBy(path ...string) string {
	s.t.Helper()
	out, err := exec.Command(filepath.Join(path...)).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(out))
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// pluginFiles are those of a version of the plugin foo; it says its version.
func pluginFiles(version string) map[string]string {
	return map[string]string{
		"bin/harmony-foo": "#!/bin/sh\n[ \"$1\" = describe ] && exec echo '" + describeLine + "'\necho foo " + version + " $(cat \"$(dirname \"$(readlink -f \"$0\")\")/../share/data\")\n",
		"share/data":      "data of " + version,
	}
}

const describeLine = `{"apiVersion":"harmony.nationtech.io/v1","kind":"PluginInfo","metadata":{"name":"foo"},"spec":{"protocol":{"min":1,"max":1},"stage":"smoke"}}`

// tarGz is an archive of programs.
func tarGz(t testing.TB, files map[string]string) []byte { return tgz.Of(t, 0o755, files) }

// another is an archive of the same files for another platform.
func another(archive []byte) []byte {
	var b bytes.Buffer
	b.Write(archive)
	end := gzip.NewWriter(&b)
	if err := end.Close(); err != nil {
		panic(err) // of a buffer
	}
	return b.Bytes()
}

// manifestOf describes the artifact for this platform, and one for another.
func manifestOf(plugin, version, uri string, artifact []byte) []byte {
	return fmt.Appendf(nil, `apiVersion: harmony.nationtech.io/v1
kind: Plugin
metadata: {name: %s, version: %s}
spec:
  shortDescription: Says its version
  stage: smoke
  protocol: {min: 1, max: 1}
  caveats: "Set FOO\e[2J first."
  platforms:
    - {os: %s, arch: %s, uri: %q, sha256: %s, size: %d, bin: bin/harmony-foo}
    - {os: plan9, arch: amd64, uri: %q, sha256: %s, size: %d, bin: bin/harmony-foo}
`, plugin, version, runtime.GOOS, runtime.GOARCH, uri, hashOf(artifact), len(artifact), uri+"-plan9", hashOf(another(artifact)), len(another(artifact)))
}

// published is an index that a test can change.
type published struct {
	url string
	// env is what a user needs to reach it.
	env []string
	// publish offers a version, as the newest; it returns the manifest's artifact.
	publish func(version string)
}

// webServer serves files by https. Its certificate is trusted by SSL_CERT_FILE.
func webServer(t testing.TB, folder string) (address string, env []string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.FileServer(http.Dir(folder)))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	return server.URL, []string{"SSL_CERT_FILE=" + file}
}

// writeArtifact puts a version's archive into a folder.
func writeArtifact(t testing.TB, folder, version string) (file string, data []byte) {
	t.Helper()
	data = tarGz(t, pluginFiles(version))
	file = "foo-" + version + ".tar.gz"
	must(t, os.WriteFile(filepath.Join(folder, file), data, 0o644))
	must(t, os.WriteFile(filepath.Join(folder, file+"-plan9"), another(data), 0o644))
	return file, data
}

// folderIndex is a folder with artifacts beside its manifests.
func folderIndex(t testing.TB) published {
	folder := t.TempDir()
	return published{url: folder, publish: func(version string) {
		file, data := writeArtifact(t, folder, version)
		must(t, os.WriteFile(filepath.Join(folder, "foo.yaml"), manifestOf("foo", version, "file://"+filepath.Join(folder, file), data), 0o644))
	}}
}

// httpsIndex is an https tree with its artifacts.
func httpsIndex(t testing.TB) published {
	folder := t.TempDir()
	address, env := webServer(t, folder)
	return published{url: address, env: env, publish: func(version string) {
		file, data := writeArtifact(t, folder, version)
		must(t, os.WriteFile(filepath.Join(folder, "foo.yaml"), manifestOf("foo", version, address+"/"+file, data), 0o644))
		newSandbox(t).must("index", "build", folder)
	}}
}

// gitIndex is a git repository, with artifacts on a web server.
func gitIndex(t testing.TB) published {
	repository, folder := t.TempDir(), t.TempDir()
	address, env := webServer(t, folder)
	git := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-C", repository, "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	return published{url: "git+file://" + repository, env: env, publish: func(version string) {
		file, data := writeArtifact(t, folder, version)
		must(t, os.WriteFile(filepath.Join(repository, "foo.yaml"), manifestOf("foo", version, address+"/"+file, data), 0o644))
		git("add", ".")
		git("commit", "-q", "-m", version)
	}}
}

// ociIndex is an artifact of a registry, which has the plugins as well.
func ociIndex(t testing.TB) published {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	return published{url: "oci://" + host + "/plugins/index:latest", publish: func(version string) {
		data := tarGz(t, pluginFiles(version))
		repository, err := name.NewRepository(host + "/plugins/foo")
		must(t, err)
		must(t, remote.WriteLayer(repository, static.NewLayer(data, "application/octet-stream")))
		must(t, remote.WriteLayer(repository, static.NewLayer(another(data), "application/octet-stream")))
		manifest := manifestOf("foo", version, "oci://"+host+"/plugins/foo:"+version, data)
		manifest = bytes.ReplaceAll(manifest, []byte(version+"-plan9"), []byte(version))
		image, err := mutate.Append(empty.Image, mutate.Addendum{
			Layer:       static.NewLayer(manifest, "application/yaml"),
			Annotations: map[string]string{"org.opencontainers.image.title": "foo.yaml"},
		})
		must(t, err)
		push(t, host+"/plugins/index:latest", image)
	}}
}

func push(t testing.TB, reference string, image v1.Image) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	must(t, err)
	must(t, remote.Write(ref, image))
}
