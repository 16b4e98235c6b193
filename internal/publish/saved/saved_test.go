package saved

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/nationtech/harmony/pkg/protocol"
)

// TestManifestNamesTheInput is of an image as docker save gives it out, which has
// no place for annotations.
func TestManifestNamesTheInput(t *testing.T) {
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	id, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	if err := tarball.Write(name.MustParseReference("x:1"), image, &stream); err != nil {
		t.Fatal(err)
	}
	content := New(t.TempDir())
	if err := content.Read(t.Context(), &stream, func(l Layer) { l.Close() }); err != nil {
		t.Fatal(err)
	}
	ref := protocol.ImageRef{ID: id.String(), InputDigest: "sha256:" + strings.Repeat("ab", 32)}
	manifest, _, err := content.Manifest(ref)
	if err != nil || manifest.Annotations[protocol.InputAnnotation] != ref.InputDigest || len(manifest.Layers) != 2 {
		t.Errorf("%+v, %v", manifest, err)
	}
	memory := InCache(t.TempDir())
	memory.Remember(ref, id.String())
	other := ref
	other.InputDigest = "sha256:" + strings.Repeat("cd", 32)
	if memory.Digest(other) != "" {
		t.Error("the manifest of another input is remembered as this one's")
	}
	if got := memory.Digest(ref); got != id.String() {
		t.Errorf("remembered %q", got)
	}
}

// file is one of a daemon's stream.
type file struct {
	name string
	data []byte
}

func stream(t *testing.T, files ...file) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f.data))}), write(w, f.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

func write(w io.Writer, data []byte) error {
	_, err := w.Write(data)
	return err
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if err := errors.Join(write(z, data), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(h[:])
}

// Daemons name the files of an image as they like, and compress layers or not:
// the manifest is the same, and each layer is given out once.
func TestNamesAndCompressionDoNotMatter(t *testing.T) {
	layer := stream(t, file{`{"odd": "name`, []byte("content")}).Bytes() // begins as JSON does
	second := stream(t, file{"b", []byte("more")}).Bytes()
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%q,%q,%q]}}`, sum(layer), sum(second), sum(layer))
	list := []byte(`[{"Config":"c.json","Layers":["x","y","x"]}]`)
	var manifests []v1.Manifest
	for name, files := range map[string][]file{
		"plain, twice":    {{"x/layer.tar", layer}, {"y/layer.tar", second}, {"z/layer.tar", layer}, {"c.json", config}, {"manifest.json", list}},
		"zipped, reverse": {{"manifest.json", list}, {"c.json", config}, {"blobs/1", zipped(t, second)}, {"blobs/2", zipped(t, layer)}},
		"with others":     {{"repositories", []byte(`{"x":{}}`)}, {"note", []byte("neither")}, {"empty", nil}, {"l", layer}, {"m", second}, {"manifest.json", list}, {"c.json", config}},
	} {
		given := map[string]int{}
		image := New(t.TempDir())
		err := image.Read(t.Context(), stream(t, files...), func(l Layer) {
			defer l.Close()
			for range 2 { // each reader starts at the start
				plain, err := gzip.NewReader(l.Open())
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(plain)
				if err != nil {
					t.Fatal(err)
				}
				given[sum(data)]++
			}
		})
		if err != nil || len(given) != 2 || given[sum(layer)] != 2 || given[sum(second)] != 2 {
			t.Errorf("%s: given %v, %v", name, given, err)
		}
		m, raw, err := image.Manifest(protocol.ImageRef{ID: sum(config)})
		if err != nil || !bytes.Equal(raw, config) || len(m.Layers) != 3 || m.Layers[0].Digest != m.Layers[2].Digest || m.Config.Digest.String() != sum(config) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		manifests = append(manifests, m)
	}
	for _, m := range manifests[1:] {
		if !reflect.DeepEqual(m, manifests[0]) {
			t.Errorf("got %+v and %+v", m, manifests[0])
		}
	}
}

func TestIncompleteStreams(t *testing.T) {
	layer := stream(t, file{"a", []byte("content")}).Bytes()
	config := fmt.Appendf(nil, `{"rootfs":{"type":"layers","diff_ids":[%q]}}`, sum(layer))
	list := file{"manifest.json", []byte(`[{"Config":"c.json"}]`)}
	whole := stream(t, file{"l", layer}, file{"c.json", config}, list)
	big := file{"big.json", []byte(`["` + strings.Repeat("x", maxDocument-4) + `"]`)}
	many := slices.Repeat([]file{big}, maxDocuments/maxDocument+1)
	for name, test := range map[string]struct {
		stream io.Reader
		want   string
	}{
		"no layer":         {stream(t, file{"c.json", config}, list), "did not give out the layer " + sum(layer)},
		"no configuration": {stream(t, file{"l", layer}, list), "did not give out the configuration"},
		"no list":          {stream(t, file{"l", layer}, file{"c.json", config}), "did not give out the configuration"},
		"cut off":          {io.LimitReader(whole, 700), "the daemon's stream of the image"},
		"a bad layer":      {stream(t, file{"l", zipped(t, layer)[:20]}), "unexpected EOF"},
		"too many":         {stream(t, many...), "of JSON"},
	} {
		dir := t.TempDir()
		image := New(dir)
		err := image.Read(t.Context(), test.stream, func(l Layer) { l.Close() })
		if err == nil {
			_, _, err = image.Manifest(protocol.ImageRef{ID: sum(config)})
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(t.TempDir()).Read(ctx, stream(t, file{"l", layer}), func(Layer) { t.Error("a layer") }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCheckID(t *testing.T) {
	for id, good := range map[string]bool{sum(nil): true, "": false, "app:1": false, "../x": false, "sha256:12": false} {
		if err := CheckID(protocol.ImageRef{ID: id}); (err == nil) != good || err != nil && protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("%q: got %v", id, err)
		}
	}
}
