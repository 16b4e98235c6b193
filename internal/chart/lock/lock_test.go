package lock

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/clustertest/tgz"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// archive is a chart as helm package makes it.
func archive(t *testing.T, name, version, note string) []byte {
	t.Helper()
	return archiveWith(t, name, version, note, "")
}

// archiveWith is a chart with an image, if there is one.
func archiveWith(t *testing.T, chart, version, note, image string) []byte {
	t.Helper()
	files := map[string]string{chart + "/Chart.yaml": "apiVersion: v2\nname: " + chart + "\nversion: " + version + "\ndescription: " + note + "\n"}
	if image != "" {
		files[chart+"/values.yaml"] = "image: " + image + "\n"
		files[chart+"/templates/pod.yaml"] = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: x, image: {{ .Values.image | quote }}, env: [{name: AGENT_IMAGE, value: 'quay.io/org/agent:1'}]}]}\n"
	}
	return tgz.Of(t, 0o644, files)
}

// world is a project whose app takes a chart of a repository.
type world struct {
	t     *testing.T
	dir   string
	files map[string][]byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	w := &world{t: t, dir: t.TempDir(), files: map[string][]byte{
		"/index.yaml":       []byte("apiVersion: v1\nentries:\n  redis: [{version: 20.1.0, urls: [redis.tgz]}, {version: 20.2.0, urls: [other.tgz]}]\n"),
		"/redis.tgz":        archive(t, "redis", "20.1.0", "first"),
		"/other.tgz":        archive(t, "nginx", "20.2.0", "not it"),
		"/redis.tgz.future": nil,
	}}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
		if data, ok := w.files[request.URL.Path]; ok {
			_, _ = out.Write(data)
			return
		}
		http.NotFound(out, request)
	}))
	t.Cleanup(server.Close)
	w.write("cache", "chart: {url: "+server.URL+", name: redis, version: 20.1.0}")
	return w
}

func (w *world) write(app, spec string) {
	w.t.Helper()
	text := fmt.Sprintf("apiVersion: harmony.nationtech.io/v1\nkind: AppSpec\nmetadata: {name: %s}\nspec:\n  %s\n", app, spec)
	if err := os.WriteFile(filepath.Join(w.dir, config.FileName), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) lock(args ...string) (string, error) {
	var out bytes.Buffer
	cmd := Command(command.Streams{Out: &out, Err: &out, Getenv: os.Getenv})
	cmd.SetArgs(append(args, "--file", filepath.Join(w.dir, config.FileName)))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(w.t.Context())
	return out.String(), err
}

func (w *world) text() string {
	text, _ := os.ReadFile(filepath.Join(w.dir, config.LockFile)) // "" without one
	return string(text)
}

func TestLock(t *testing.T) {
	w := newWorld(t)
	if _, err := w.lock("--check"); protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "cache: redis 20.1.0, sha256:") || w.text() != "" {
		t.Errorf("--check before: %v", err)
	}
	out, err := w.lock()
	if err != nil || !strings.HasPrefix(out, "cache: redis 20.1.0, sha256:") || !strings.Contains(w.text(), "archive: http://127.0.0.1:") {
		t.Fatalf("%v\n%s%s", err, out, w.text())
	}
	locked := w.text()
	for _, flag := range []string{"--check", "--update"} {
		if out, err := w.lock(flag); err != nil || out != "harmony.lock is up to date (1)\n" || w.text() != locked {
			t.Errorf("%s: %v\n%s", flag, err, out)
		}
	}
	// The same version with other bytes is refused until it is asked for.
	w.files["/redis.tgz"] = archive(t, "redis", "20.1.0", "second")
	for _, args := range [][]string{nil, {"--check"}, {"cache"}} {
		if _, err := w.lock(args...); protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "somebody replaced it") || w.text() != locked {
			t.Errorf("%q: %v", args, err)
		}
	}
	if out, err := w.lock("cache", "--update"); err != nil || !strings.Contains(out, "; was redis 20.1.0") || w.text() == locked {
		t.Errorf("--update: %v\n%s", err, out)
	}
	// An entry of an app without such a chart goes.
	w.write("cache", "chart: {path: chart}")
	if _, err := w.lock("cache"); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("an app without a chart of others: %v", err)
	}
	if out, err := w.lock(); err != nil || out != "cache: redis 20.1.0 is removed\n" || !strings.Contains(w.text(), "charts: []") {
		t.Errorf("%v\n%s%s", err, out, w.text())
	}
}

func TestNothingIsLocked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		want   string
	}{
		"another chart": {func(w *world) { w.files["/redis.tgz"] = archive(t, "nginx", "20.1.0", "x") }, `Chart.yaml: line 2: name is "nginx"`},
		"another one":   {func(w *world) { w.files["/redis.tgz"] = archive(t, "redis", "20.1.1", "x") }, `Chart.yaml: line 3: version is "20.1.1"`},
		"no archive":    {func(w *world) { w.files["/redis.tgz"] = []byte("x") }, "chart redis 20.1.0 of http://127.0.0.1:"},
		"a bad lock": {func(w *world) {
			if err := os.WriteFile(filepath.Join(w.dir, config.LockFile), []byte("kind: x\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "harmony.lock:1: "},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.change(w)
			before := w.text()
			if _, err := w.lock(); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), c.want) || w.text() != before {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
	if _, err := newWorld(t).lock("--check", "--update"); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("--check with --update: %v", err)
	}
}

// The digests of images are kept until they are asked for again.
func TestLockImages(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	push := func() string {
		image, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		tag, err := name.NewTag(host + "/redis:7")
		if err == nil {
			err = remote.Write(tag, image)
		}
		digest, failed := image.Digest()
		if err := errors.Join(err, failed); err != nil {
			t.Fatal(err)
		}
		return digest.String()
	}
	w.files["/redis.tgz"] = archiveWith(t, "redis", "20.1.0", "x", host+"/redis:7")
	text, err := os.ReadFile(filepath.Join(w.dir, config.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, config.FileName), bytes.Replace(text, []byte("20.1.0}"), []byte("20.1.0, pinImages: true}"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.lock(); err == nil || !strings.Contains(err.Error(), "image "+host+"/redis:7: ") || w.text() != "" {
		t.Errorf("an image that is not there: %v", err)
	}
	first := push()
	for _, args := range [][]string{nil, {"--check"}} {
		out, err := w.lock(args...)
		if err != nil || !strings.Contains(w.text(), host+"/redis:7: "+first) {
			t.Fatalf("%v\n%s%s", err, out, w.text())
		}
		if want := "cache: not pinned: quay.io/org/agent:1 in env AGENT_IMAGE of container x in pod/x (templates/pod.yaml)\n"; !strings.Contains(out, want) {
			t.Errorf("%q: %q is not in\n%s", args, want, out)
		}
	}
	second := push()
	if out, err := w.lock(); err != nil || !strings.Contains(w.text(), first) {
		t.Errorf("again: %v\n%s%s", err, out, w.text())
	}
	if out, err := w.lock("--update"); err != nil || !strings.Contains(w.text(), second) || !strings.Contains(out, "1 image") {
		t.Errorf("--update: %v\n%s%s", err, out, w.text())
	}
}
