package ocilayout

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestCompressedBytesDoNotDependOnProcessors(t *testing.T) {
	data := bytes.Repeat([]byte("some text that compresses well, and some that does not: "), 100_000)
	if _, err := rand.Read(data[3<<20 : 4<<20]); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, len(data)} {
		var first []byte
		for _, workers := range []int{1, 2, 7} {
			var b bytes.Buffer
			z := newGzipWriter(&b, workers, level)
			for part := data[:size]; len(part) > 0; {
				n := min(len(part), 70_001)
				if _, err := z.Write(part[:n]); err != nil {
					t.Fatal(err)
				}
				part = part[n:]
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = b.Bytes()
			}
			if !bytes.Equal(first, b.Bytes()) {
				t.Errorf("%d bytes: %d workers give other bytes", size, workers)
			}
		}
		r, err := gzip.NewReader(bytes.NewReader(first))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, data[:size]) {
			t.Errorf("%d bytes come back as %d, %v", size, len(got), err)
		}
	}
}

type failingWriter struct{ after int }

var errFull = errors.New("disk is full")

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.after -= len(p); w.after < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestCompressTellsWriteErrors(t *testing.T) {
	z := newGzipWriter(&failingWriter{after: 5000}, 2, level)
	for range 20 {
		if _, err := z.Write(make([]byte, blockSize)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); !errors.Is(err, errFull) {
		t.Errorf("error %v, want that of the writer", err)
	}
}

func draft(t *testing.T, s Store) *Draft {
	t.Helper()
	d, err := s.Begin("app")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Discard() })
	return d
}

func inputOf(text string) string { return digest.FromString(text).String() }

// add makes an image with one file.
func add(t *testing.T, d *Draft, content string) ocispec.Descriptor {
	t.Helper()
	layer, err := d.WriteLayer(t.Context(), []Entry{File("file", 0o644, []byte(content))}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	config := dockerspec.DockerOCIImage{}
	config.OS, config.Architecture = "linux", "amd64"
	image, err := d.AddImage(config, []Layer{layer})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// A layer that is only stored holds the same archive as a compressed one.
func TestStoredLayer(t *testing.T) {
	entries := []Entry{File("file", 0o644, bytes.Repeat([]byte("content"), 1<<18))}
	packed, err := draft(t, Store{Dir: t.TempDir()}).WriteLayer(t.Context(), entries, time.Unix(7, 0))
	if err != nil {
		t.Fatal(err)
	}
	d := draft(t, Store{Dir: t.TempDir(), Stored: true})
	stored, err := d.WriteLayer(t.Context(), entries, time.Unix(7, 0))
	if err != nil {
		t.Fatal(err)
	}
	blob, err := os.ReadFile(d.blob(stored.Descriptor.Digest))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(z)
	if err != nil || digest.FromBytes(archive) != stored.DiffID || stored.DiffID != packed.DiffID {
		t.Errorf("it holds %s, a compressed one %s, %v", digest.FromBytes(archive), packed.DiffID, err)
	}
	if int64(len(blob)) != stored.Descriptor.Size || len(blob) < len(archive) || packed.Descriptor.Size > int64(len(blob))/10 {
		t.Errorf("%d bytes stored, descriptor %d, %d compressed", len(blob), stored.Descriptor.Size, packed.Descriptor.Size)
	}
}

func TestLayerDoesNotDependOnTheOrderOfEntries(t *testing.T) {
	entries := []Entry{
		Dir("b", 0o755), File("b/file", 0o644, []byte("content")), File("b-c", 0o600, nil),
		{Path: "a-link", Type: tar.TypeSymlink, Link: "b/file"}, {Path: "z", Type: tar.TypeSymlink, Link: "b", Mode: 0o777},
	}
	reversed := []Entry{entries[4], entries[3], entries[2], entries[1], entries[0]}
	d := draft(t, Store{Dir: t.TempDir()})
	var names []string
	for _, es := range [][]Entry{entries, reversed} {
		layer, err := d.WriteLayer(t.Context(), es, time.Unix(7, 0))
		if err != nil {
			t.Fatal(err)
		}
		blob, err := os.ReadFile(d.blob(layer.Descriptor.Digest))
		if err != nil {
			t.Fatal(err)
		}
		if digest.FromBytes(blob) != layer.Descriptor.Digest || int64(len(blob)) != layer.Descriptor.Size {
			t.Errorf("descriptor %+v is not that of the blob", layer.Descriptor)
		}
		z, err := gzip.NewReader(bytes.NewReader(blob))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		var list []string
		for r := tar.NewReader(io.TeeReader(z, sum)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, h.Name)
			if !h.ModTime.Equal(time.Unix(7, 0)) {
				t.Errorf("%s: time %v", h.Name, h.ModTime)
			}
		}
		if _, err := io.Copy(sum, z); err != nil {
			t.Fatal(err)
		}
		if digest.NewDigest(digest.SHA256, sum) != layer.DiffID {
			t.Error("DiffID is not the digest of the tar")
		}
		names = append(names, strings.Join(list, " "))
	}
	if want := "a-link b/ b-c b/file z"; names[0] != want || names[1] != want {
		t.Errorf("order %q, want %q", names, want)
	}
}

func TestFileThatChangedSize(t *testing.T) {
	for _, size := range []int64{3, 5} {
		d := draft(t, Store{Dir: t.TempDir()})
		e := File("file", 0o644, []byte("four"))
		e.Size = size
		_, err := d.WriteLayer(t.Context(), []Entry{e}, time.Unix(0, 0))
		if err == nil || !strings.Contains(err.Error(), "file: changed while it was read") {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func TestCancelledLayer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := draft(t, Store{Dir: t.TempDir()}).WriteLayer(ctx, []Entry{File("file", 0o644, []byte("x"))}, time.Unix(0, 0))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestCommitAndFind(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	input := inputOf("one")
	if _, found := s.Find("app", input); found {
		t.Fatal("found before it was made")
	}
	d := draft(t, s)
	made, err := d.Commit(input, []ocispec.Descriptor{add(t, d, "x")})
	if err != nil {
		t.Fatal(err)
	}
	found, ok := s.Find("app", input)
	if !ok || found.Digest != made.Digest || strings.Join(found.Platforms, " ") != "linux/amd64" {
		t.Errorf("found %t %+v, made %+v", ok, found, made)
	}
	// A second run with the same input: the first one's layout stays.
	d = draft(t, s)
	again, err := d.Commit(input, []ocispec.Descriptor{add(t, d, "x")})
	if err != nil || again.Path != made.Path {
		t.Errorf("again %+v, %v", again, err)
	}
	entries, err := os.ReadDir(filepath.Join(s.Dir, "app"))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestDamagedLayoutIsMadeAgain(t *testing.T) {
	damage := map[string]func(t *testing.T, path string){
		"blob cut": func(t *testing.T, path string) { eachBlob(t, path, func(p string) error { return os.Truncate(p, 1) }) },
		"only the layer cut": func(t *testing.T, path string) {
			eachBlob(t, path, func(p string) error {
				data, err := os.ReadFile(p)
				if err != nil || data[0] == '{' {
					return err
				}
				return os.Truncate(p, 10)
			})
		},
		"blob gone": func(t *testing.T, path string) { eachBlob(t, path, os.Remove) },
		"no index": func(t *testing.T, path string) {
			if err := os.Remove(filepath.Join(path, "index.json")); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			s := Store{Dir: t.TempDir()}
			for range 2 {
				d := draft(t, s)
				made, err := d.Commit(inputOf("x"), []ocispec.Descriptor{add(t, d, "x")})
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := s.Find("app", inputOf("x")); !ok {
					t.Fatal("not found")
				}
				f(t, made.Path)
				if _, ok := s.Find("app", inputOf("x")); ok {
					t.Fatal("a damaged layout is found")
				}
			}
		})
	}
}

func eachBlob(t *testing.T, path string, f func(string) error) {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(path, "blobs", "sha256", "*"))
	if err != nil || len(blobs) == 0 {
		t.Fatal(blobs, err)
	}
	for _, b := range blobs {
		if err := f(b); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPrune(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	old := time.Now().Add(-2 * pruneAge)
	var inputs []string
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		d := draft(t, s)
		made, err := d.Commit(inputOf(name), []ocispec.Descriptor{add(t, d, name)})
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, inputOf(name))
		// The two oldest were not used for long; the rest was.
		if name == "a" || name == "b" {
			if err := os.Chtimes(made.Path, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	dead, young := draft(t, s), draft(t, s)
	if err := os.Chtimes(dead.dir, old, old); err != nil {
		t.Fatal(err)
	}
	if err := s.prune("app"); err != nil {
		t.Fatal(err)
	}
	for i, input := range inputs {
		if _, ok := s.Find("app", input); ok != (i >= 2) {
			t.Errorf("layout %d: found %t", i, ok)
		}
	}
	if _, err := os.Stat(dead.dir); err == nil {
		t.Error("the draft of a dead run is still there")
	}
	if _, err := os.Stat(young.dir); err != nil {
		t.Errorf("the draft of another run: %v", err)
	}
}
