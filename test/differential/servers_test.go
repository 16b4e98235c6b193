package differential

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// fileServer answers with the http: sections of all cases.
type fileServer struct {
	mu    sync.Mutex
	files map[string][]byte
}

func startFiles(t *testing.T) (*fileServer, string) {
	t.Helper()
	f := &fileServer{files: map[string][]byte{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, strings.TrimPrefix(server.URL, "http://")
}

func (f *fileServer) serve(name string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files["/"+name] = data
}

func (f *fileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	data, ok := f.files[r.URL.Path]
	f.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", zeroTime, bytes.NewReader(data))
}

// pushBase pushes a base image, of several platforms as an index.
func pushBase(t *testing.T, reference string, text []byte) {
	t.Helper()
	ref, err := name.NewTag(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	config, lists, _ := strings.Cut(string(text), "\n")
	parts := strings.Split("\n"+lists, "\nplatform ")
	if len(parts) == 1 {
		push(t, remote.Write(ref, baseImage(t, config, "linux/amd64", parts[0])))
		return
	}
	var index v1.ImageIndex = empty.Index
	for _, part := range parts[1:] {
		platform, layers, _ := strings.Cut(part, "\n")
		p, err := v1.ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: baseImage(t, config, platform, "\n"+layers), Descriptor: v1.Descriptor{Platform: p},
		})
	}
	push(t, remote.WriteIndex(ref, index))
}

func push(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func baseImage(t *testing.T, config, platform, lists string) v1.Image {
	t.Helper()
	image := empty.Image
	for _, list := range strings.Split(lists, "\nlayer\n")[1:] {
		data := tarOf(t, list)
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			t.Fatal(err)
		}
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant = p.OS, p.Architecture, p.Variant
	if err := json.Unmarshal([]byte(config), &file.Config); err != nil {
		t.Fatal(err)
	}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}
