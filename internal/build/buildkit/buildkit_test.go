package buildkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

func addressed(d *daemon) map[string]any { return map[string]any{"address": d.address} }

// contents are the files of the one image in a layout.
func contents(t *testing.T, ref protocol.ImageRef) map[string]string {
	t.Helper()
	if ref.Location != protocol.InLayout {
		t.Fatalf("the image is no layout: %+v", ref)
	}
	index, err := layout.ImageIndexFromPath(ref.Path)
	must(t, err)
	manifest, err := index.IndexManifest()
	must(t, err)
	image, err := index.Image(manifest.Manifests[0].Digest)
	must(t, err)
	return filesOf(t, image)
}

func filesOf(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	r := mutate.Extract(image)
	defer r.Close()
	return untar(t, r)
}

// What RUN can mount, arguments, targets and named contexts, all in one image.
func TestDockerfileFeatures(t *testing.T) {
	d := startReady(t)
	base := pushBusybox(t)
	p := newProject(t, addressed(d), map[string]string{
		"Dockerfile": `# syntax=docker/dockerfile:1
FROM ` + base + ` AS work
ARG WHO=nobody
WORKDIR /out
RUN --mount=type=cache,target=/cache echo $WHO > who && touch /cache/seen
RUN --mount=type=secret,id=token --mount=type=secret,id=file wc -c < /run/secrets/token > sizes && wc -c < /run/secrets/file >> sizes
COPY --from=more added .
COPY --from=other /bin/busybox /tmp/tool
COPY . all/
FROM scratch AS wanted
COPY --from=work /out /
FROM scratch
COPY Dockerfile /not-this
`,
		".dockerignore": "ignored\n", "ignored": "x", "kept": "y", "side/added": "from the side", "secret.txt": "12345",
	})
	const secret = "s3cr3t-value-of-the-test"
	t.Setenv("TEST_TOKEN", secret)
	p.app.Image.Dockerfile = &protocol.Dockerfile{
		Target: "wanted", Args: map[string]string{"WHO": "me"},
		Contexts: map[string]string{"more": "side", "other": "docker-image://" + base},
		Secrets:  map[string]string{"token": "env:TEST_TOKEN", "file": "file:secret.txt"},
	}
	p.write(map[string]string{"Dockerfile": strings.TrimPrefix(read(t, p, "Dockerfile"), "# syntax=docker/dockerfile:1\n")})
	ref := p.mustBuild()
	files := contents(t, ref)
	for path, want := range map[string]string{
		"who": "me\n", "sizes": fmt.Sprintf("%d\n5\n", len(secret)), "added": "from the side", "all/kept": "y",
	} {
		if files[path] != want {
			t.Errorf("%s is %q, want %q", path, files[path], want)
		}
	}
	for _, path := range []string{"all/ignored", "not-this"} {
		if _, found := files[path]; found {
			t.Errorf("%s is in the image", path)
		}
	}
	if strings.Contains(p.told(), secret) {
		t.Error("the secret was told")
	}
	for _, line := range []string{"RUN --mount=type=cache", "[work 1/"} {
		if !strings.Contains(p.told(), line) {
			t.Errorf("no event tells of %s:\n%s", line, p.told())
		}
	}
	if again := p.mustBuild(); !again.Unchanged || again.Digest != ref.Digest {
		t.Errorf("built again: %+v", again)
	}
}

func read(t *testing.T, p *project, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.app.ProjectRoot, path))
	must(t, err)
	return string(data)
}

// With SOURCE_DATE_EPOCH an image is the same wherever and whenever it is built.
func TestSameInputSameDigest(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	base := pushBusybox(t)
	var digests []string
	for i := range 2 {
		d := startReady(t) // with nothing in its cache
		p := newProject(t, addressed(d), map[string]string{"Dockerfile": "FROM " + base + "\nRUN echo hi > /made\nCOPY a /a\n", "a": "a"})
		checkout := time.Now().Add(-time.Duration(i) * time.Hour)
		must(t, os.Chtimes(filepath.Join(p.app.ProjectRoot, "a"), checkout, checkout))
		digests = append(digests, p.mustBuild().Digest)
	}
	if digests[0] != digests[1] {
		t.Errorf("digests differ: %v", digests)
	}
}

func TestTwoPlatforms(t *testing.T) {
	p := newProject(t, addressed(startReady(t)), map[string]string{"Dockerfile": "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n", "amd64": "a", "arm64": "b"})
	p.app.Image.Platforms = []string{"linux/arm64", "linux/amd64"}
	if ref := p.mustBuild(); strings.Join(ref.Platforms, " ") != "linux/amd64 linux/arm64" {
		t.Errorf("platforms %v", ref.Platforms)
	}
}

func TestPushesByDigestWithoutTag(t *testing.T) {
	p := newProject(t, addressed(startReady(t)), map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": time.Now().String()}).withRegistry()
	p.app.Image.Repository = "pushed-" + strings.ToLower(time.Now().Format("150405.000000"))
	ref := p.mustBuild()
	if ref.Location != protocol.InRegistry || ref.Registry != clustertest.Registry(t) || ref.Repository != "buildkit-test/"+p.app.Image.Repository || ref.Path != "" {
		t.Fatalf("the image is not in the registry: %+v", ref)
	}
	repository, err := name.NewRepository(ref.FullName(), name.Insecure)
	must(t, err)
	image, err := remote.Image(repository.Digest(ref.Digest))
	must(t, err)
	if files := filesOf(t, image); files["a"] == "" {
		t.Errorf("the image has %v", files)
	}
	if tags, err := remote.List(repository); err == nil && len(tags) > 0 {
		t.Errorf("tags %v", tags)
	}
}

func TestComesToDiskWhenTheRegistryIsOutOfReach(t *testing.T) {
	files := map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"}
	p := newProject(t, addressed(startReady(t)), files)
	closed := strings.TrimPrefix(freeAddress(t), "tcp://")
	p.env.Topology.OCIRegistry = &protocol.Provider{Adapter: "oci", URL: closed + "/x"}
	ref := p.mustBuild()
	if contents(t, ref)["a"] != "a" || !strings.Contains(p.told(), "cannot push to "+closed) {
		t.Errorf("%+v\n%s", ref, p.told())
	}
	p.env.Provider.Settings["push"], p.env.Cache = "always", t.TempDir()
	if ref, err := p.build(t.Context()); err == nil {
		t.Errorf("push: always gives %+v", ref)
	}
}

func TestFailedRun(t *testing.T) {
	base := pushBusybox(t)
	p := newProject(t, addressed(startReady(t)), map[string]string{
		"Dockerfile": "FROM " + base + "\n\nRUN for i in $(seq 100); do echo line-$i; done; \\\n  exit 7\n",
	})
	_, err := p.build(t.Context())
	if protocol.ExitCode(err) != protocol.ExitFailed {
		t.Fatalf("status %d: %v", protocol.ExitCode(err), err)
	}
	text := err.Error()
	for _, want := range []string{"Dockerfile:3: RUN for i", "exit code: 7", "| line-100", "| line-81"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in: %s", want, text)
		}
	}
	if strings.Contains(text, "line-80\n") || strings.Count(text, "line-100") != 1 {
		t.Errorf("too much is told: %s", text)
	}
	if n := strings.Count(p.told(), "line-"); n > 10 {
		t.Errorf("%d events tell of output", n)
	}
	if left, err := filepath.Glob(filepath.Join(p.env.Cache, "app", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestErrorsOfTheDockerfile(t *testing.T) {
	d := startReady(t)
	for text, want := range map[string]string{
		"FROM scratch\nCOPPY a b\n":                   "Dockerfile:2",
		"FROM scratch\nCOPY --wrong a b\n":            "Dockerfile:2",
		"FROM scratch\nCOPY --from=nowhere:1\n a b\n": "Dockerfile:2",
	} {
		_, err := newProject(t, addressed(d), map[string]string{"Dockerfile": text}).build(t.Context())
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: status %d: %v", text, protocol.ExitCode(err), err)
		}
	}
}

func TestMissingSecretIsNamed(t *testing.T) {
	base := pushBusybox(t)
	p := newProject(t, addressed(startReady(t)), map[string]string{"Dockerfile": "FROM " + base + "\nRUN --mount=type=secret,id=token,required=true true\n"})
	p.app.Image.Dockerfile.Secrets = map[string]string{"token": "env:HARMONY_TEST_NOT_SET"}
	if _, err := p.build(t.Context()); err == nil || !strings.Contains(err.Error(), "HARMONY_TEST_NOT_SET is not set") {
		t.Error(err)
	}
}

func TestCancelStopsTheRemoteBuild(t *testing.T) {
	d := startReady(t)
	base := pushBusybox(t)
	p := newProject(t, addressed(d), map[string]string{"Dockerfile": "FROM " + base + "\nRUN echo begun && sleep 300\n"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := p.build(ctx)
		done <- err
	}()
	eventually(t, func() bool { return strings.Contains(p.told(), "begun") && len(sleepers(t, d)) > 0 })
	cancel()
	begin := time.Now()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) || protocol.ExitCode(err) != protocol.ExitInterrupted {
			t.Errorf("%v", err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("still building after 2 s")
	}
	for len(sleepers(t, d)) > 0 {
		if time.Since(begin) > 2*time.Second {
			t.Fatal("the builder still runs the step after 2 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if left, err := filepath.Glob(filepath.Join(p.env.Cache, "app", "*")); err != nil || len(left) > 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestUnreachableBuilder(t *testing.T) {
	p := newProject(t, map[string]any{"address": freeAddress(t)}, map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
	_, err := p.build(t.Context())
	if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(protocol.HintOf(err), "start buildkitd --addr tcp://127.0.0.1:") {
		t.Errorf("status %d, hint %q: %v", protocol.ExitCode(err), protocol.HintOf(err), err)
	}
}

func TestCacheExportAndImport(t *testing.T) {
	base := pushBusybox(t)
	cache := "type=registry,ref=" + clustertest.Registry(t) + "/buildkit-test/cache:{app}-" + time.Now().Format("150405.000000")
	files := map[string]string{"Dockerfile": "FROM " + base + " AS one\nRUN echo hi > /made\nFROM scratch\nCOPY --from=one /made /\n"}
	settings := func(d *daemon, what string, more string) map[string]any {
		return map[string]any{"address": d.address, "cache": map[string]any{what: []any{cache + more}}}
	}
	newProject(t, settings(startReady(t), "to", ",mode=max"), files).mustBuild()
	p := newProject(t, settings(startReady(t), "from", ""), files)
	p.mustBuild()
	if !strings.Contains(p.told(), "RUN echo hi > /made CACHED") {
		t.Errorf("not cached:\n%s", p.told())
	}
	local := filepath.Join(t.TempDir(), "cache")
	s := map[string]any{"address": startReady(t).address, "cache": map[string]any{"to": []any{map[string]any{"type": "local", "dest": local, "mode": "max"}}}}
	newProject(t, s, files).mustBuild()
	s = map[string]any{"address": startReady(t).address, "cache": map[string]any{"from": []any{"type=local,src=" + local}}}
	p = newProject(t, s, files)
	p.mustBuild()
	if !strings.Contains(p.told(), "RUN echo hi > /made CACHED") {
		t.Errorf("local: not cached:\n%s", p.told())
	}
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
