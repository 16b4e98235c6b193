package daemonless

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	inprocess "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/pkg/protocol"
)

// startRegistry starts a registry and returns its host and a way to stop it.
func startRegistry(t *testing.T) (string, func()) {
	t.Helper()
	server := httptest.NewServer(inprocess.New(inprocess.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), server.Close
}

// tarLayer makes a layer of headers with their contents.
func tarLayer(t *testing.T, headers ...tar.Header) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := h.Uname // carries the content
		h.Uname, h.Size = "", 0
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

func file(name, content string, uid int) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o640, Uid: uid, Gid: uid, Uname: content}
}

// baseImage is a small distribution of Docker's types: users, links,
// whiteouts, and the architecture in a file.
func baseImage(t *testing.T, arch string) v1.Image {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.DockerManifestSchema2),
		tarLayer(t,
			tar.Header{Typeflag: tar.TypeDir, Name: "usr/bin/", Mode: 0o755},
			tar.Header{Typeflag: tar.TypeSymlink, Name: "bin", Linkname: "usr/bin", Mode: 0o777},
			file("etc/passwd", "root:x:0:0::/:\nweb:x:33:34::/:\n", 0), file("etc/group", "web:x:35:\n", 0),
			file("etc/arch", arch, 0), file("gone/a", "a", 0), file("hidden/old", "old", 0),
		),
		tarLayer(t,
			file("gone/.wh.a", "", 0), file("hidden/new", "new", 5), file("hidden/.wh..wh..opq", "", 0),
			tar.Header{Typeflag: tar.TypeLink, Name: "usr/bin/same", Linkname: "etc/arch"},
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config = v1.Config{Env: []string{"PATH=/bin", "DIR=/from/base"}, Cmd: []string{"sh"}, Labels: map[string]string{"base": "yes"}}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// pushIndex pushes an image for two platforms and returns its reference.
func pushIndex(t *testing.T, host string) string {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		platform := &v1.Platform{OS: "linux", Architecture: arch}
		if arch == "arm64" {
			platform.Variant = "v8"
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: baseImage(t, arch), Descriptor: v1.Descriptor{Platform: platform}})
	}
	ref, err := name.ParseReference(host + "/library/base:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

const onBase = `
ARG BASE
FROM ${BASE} AS base
FROM base
COPY a $DIR/
COPY --chown=web:web a /bin/owned
COPY --from=base --chown=web /etc/arch /copied/
COPY --from=base /hidden /usr/bin/same /copied/
`

func TestBaseImage(t *testing.T) {
	host, stop := startRegistry(t)
	reference := pushIndex(t, host)
	app := project(t, onBase, map[string]string{"a": "A"})
	app.Image.Dockerfile.Args = map[string]string{"BASE": reference}
	app.Image.Platforms = []string{"linux/arm64"}
	b := newBuilder(t)
	_, image := mustBuild(t, b, app)
	got := list(t, image)
	for _, want := range []string{
		"- 0644 0:0 from/base/a A", "- 0644 33:35 usr/bin/owned A", "- 0640 33:34 copied/arch arm64",
		"- 0640 5:5 copied/new new", "- 0640 0:0 copied/same arm64", "l 0777 0:0 bin usr/bin",
	} {
		if !strings.Contains("\n"+got+"\n", "\n"+want+"\n") {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "copied/old") || strings.Contains(got, "gone/a") {
		t.Errorf("a whiteout was not heeded:\n%s", got)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range manifest.Layers {
		if l.MediaType != types.OCILayer {
			t.Errorf("layer of type %s in an OCI image", l.MediaType)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != "arm64" || config.Config.Labels["base"] != "yes" || strings.Join(config.Config.Cmd, "") != "sh" {
		t.Errorf("configuration %+v", config)
	}
	if layers := len(manifest.Layers); len(config.History) != 2+4 || layers != 2+4 {
		t.Errorf("%d layers, history %+v", layers, config.History)
	}

	t.Run("a digest needs no registry", func(t *testing.T) {
		parsed, err := name.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		head, err := remote.Head(parsed)
		if err != nil {
			t.Fatal(err)
		}
		app.Image.Dockerfile.Args["BASE"] = parsed.Context().Digest(head.Digest.String()).String()
		first, image := mustBuild(t, b, app)
		if same := list(t, image); same != got {
			t.Errorf("by the digest it has\n%s\nby the tag\n%s", same, got)
		}
		stop()
		again, err := newBuilderAt(t, b.cache).BuildImage(t.Context(), app)
		if err != nil || !again.Unchanged || again.Digest != first.Digest {
			t.Errorf("%+v, %v; first %s", again, err, first.Digest)
		}
	})
}

func TestMovedTagIsSeen(t *testing.T) {
	host, _ := startRegistry(t)
	reference := pushIndex(t, host)
	app := project(t, "FROM "+reference, nil)
	b := newBuilder(t)
	first, _ := mustBuild(t, b, app)
	if again, err := b.BuildImage(t.Context(), app); err != nil || !again.Unchanged {
		t.Errorf("%+v, %v", again, err)
	}
	tag, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	other, err := mutate.Config(baseImage(t, "amd64"), v1.Config{User: "7"})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, other); err != nil {
		t.Fatal(err)
	}
	second, image := mustBuild(t, b, app)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if second.Unchanged || second.Digest == first.Digest || config.Config.User != "7" {
		t.Errorf("the tag moved, but the image is %+v, user %q", second, config.Config.User)
	}
}

func TestBaseImageRefusals(t *testing.T) {
	host, _ := startRegistry(t)
	reference := pushIndex(t, host)
	tag, err := name.ParseReference(host + "/trigger")
	if err != nil {
		t.Fatal(err)
	}
	trigger, err := mutate.Config(baseImage(t, "amd64"), v1.Config{OnBuild: []string{"COPY . /", "RUN make"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, trigger); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		from, platform string
		code           int
		want           string
	}{
		"no such image":   {host + "/nope:1", "linux/amd64", 2, "Dockerfile:1: " + host + "/nope:1"},
		"no such digest":  {host + "/library/base@sha256:" + strings.Repeat("0", 64), "linux/amd64", 2, "Dockerfile:1: "},
		"no such arch":    {reference, "linux/s390x", 2, "has no image for linux/s390x (it has linux/amd64, linux/arm64/v8)"},
		"one arch only":   {host + "/trigger", "linux/arm64", 3, "is for linux/amd64, not linux/arm64"},
		"onbuild":         {host + "/trigger", "linux/amd64", 3, "Dockerfile:1: RUN … needs a builder"},
		"nobody listens":  {"127.0.0.1:1/x", "linux/amd64", 4, "Dockerfile:1: 127.0.0.1:1/x"},
		"not a reference": {"UPPER", "linux/amd64", 2, "Dockerfile:1: "},
	} {
		t.Run(name, func(t *testing.T) {
			app := project(t, "FROM "+test.from, nil)
			app.Image.Platforms = []string{test.platform}
			_, err := newBuilder(t).BuildImage(t.Context(), app)
			if err == nil || protocol.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("status %d, %v; want %d, %q", protocol.ExitCode(err), err, test.code, test.want)
			}
		})
	}
}
