package index

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"aead.dev/minisign"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/internal/config"
)

// manifest is the text of a small one; more is appended to its spec.
func manifest(plugin, version, more string) []byte {
	return fmt.Appendf(nil, `apiVersion: harmony.nationtech.io/v1
kind: Plugin
metadata: {name: %s, version: %s}
spec:
  shortDescription: Says hello
  platforms:
    - {os: linux, arch: amd64, uri: "https://example.com/%[1]s.tar.gz", sha256: "%064[3]d", size: 12}
  protocol: {min: 1, max: 1}
%[4]s`, plugin, version, 0, more)
}

func offer(plugin, version string) tree {
	return tree{plugin + ".yaml": manifest(plugin, version, "")}
}

// store is an empty one in folders of its own.
func store(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	s := &Store{dirs: dirs{filepath.Join(dir, "config"), filepath.Join(dir, "cache"), filepath.Join(dir, "state")}}
	s.Warn = func(text string) { t.Logf("warning: %s", text) }
	return s
}

// place is somewhere that an index can be published, again and again.
type place struct {
	url       string
	transport http.RoundTripper
	publish   func(files map[string][]byte)
}

// places are all kinds of sources.
func places(t *testing.T) map[string]place {
	return map[string]place{"folder": folderPlace(t), "git": gitPlace(t), "https": httpsPlace(t), "oci": ociPlace(t)}
}

func folderPlace(t *testing.T) place {
	dir := t.TempDir()
	return place{url: dir, publish: func(files map[string][]byte) { fill(t, dir, files) }}
}

// fill makes a folder hold these files and no others.
func fill(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	old, err := filepath.Glob(filepath.Join(dir, "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range old {
		if filepath.Base(file) == ".git" {
			continue
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	for file, data := range files {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// git runs a command in a repository of a test.
func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func gitPlace(t *testing.T) place {
	dir := t.TempDir()
	git(t, dir, "init", "--quiet")
	return place{url: "git+file://" + dir, publish: func(files map[string][]byte) {
		fill(t, dir, files)
		git(t, dir, "add", "--all")
		git(t, dir, "commit", "--quiet", "--allow-empty", "--message=x")
	}}
}

// httpsPlace serves files and a list of them; a file of that name takes the
// list's place.
func httpsPlace(t *testing.T) place {
	files := map[string][]byte{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[strings.TrimPrefix(r.URL.Path, "/index/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(data)
	}))
	t.Cleanup(server.Close)
	return place{url: server.URL + "/index", transport: server.Client().Transport, publish: func(published map[string][]byte) {
		clear(files)
		for file, data := range published {
			files[file] = data
		}
		if files[listName] == nil {
			list, err := config.Encode(listOf(files))
			if err != nil {
				t.Fatal(err)
			}
			files[listName] = list
		}
	}}
}

func ociPlace(t *testing.T) place {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	reference := strings.TrimPrefix(server.URL, "http://") + "/plugins/index:latest"
	return place{url: "oci://" + reference, publish: func(files map[string][]byte) { push(t, reference, files) }}
}

// push writes an artifact with one layer for each file.
func push(t *testing.T, reference string, files map[string][]byte) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for file, data := range files {
		image, err = mutate.Append(image, mutate.Addendum{
			Layer: static.NewLayer(data, "application/yaml"), Annotations: map[string]string{titleAnnotation: file}, MediaType: "application/yaml",
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
}

// signing makes a key pair: the public key as it is configured, and what signs
// all manifests of an index.
type signing struct {
	public string
	sign   func(files tree) tree
}

func minisignKey(t *testing.T) signing {
	t.Helper()
	public, private, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signing{public.String(), signAll(minisignSuffix, func(data []byte) []byte { return minisign.Sign(private, data) })}
}

// hashedMinisignKey signs as the tool minisign does by itself: the hash.
func hashedMinisignKey(t *testing.T) signing {
	t.Helper()
	public, private, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signing{public.String(), signAll(minisignSuffix, func(data []byte) []byte {
		reader := minisign.NewReader(bytes.NewReader(data))
		if _, err := io.Copy(io.Discard, reader); err != nil {
			t.Fatal(err)
		}
		return reader.Sign(private)
	})}
}

func ecdsaKey(t *testing.T, curve elliptic.Curve) signing {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return signing{public, signAll(cosignSuffix, func(data []byte) []byte {
		hash := sha256.Sum256(data)
		raw, err := ecdsa.SignASN1(rand.Reader, private, hash[:])
		if err != nil {
			t.Fatal(err)
		}
		return []byte(base64.StdEncoding.EncodeToString(raw) + "\n")
	})}
}

func signAll(suffix string, sign func([]byte) []byte) func(tree) tree {
	return func(files tree) tree {
		signed := tree{}
		for file, data := range files {
			signed[file], signed[file+suffix] = data, sign(data)
		}
		return signed
	}
}

// join puts the files of several together.
func join(all ...tree) tree {
	files := tree{}
	for _, some := range all {
		for file, data := range some {
			files[file] = data
		}
	}
	return files
}

// names are the plugins found, as INDEX/NAME@VERSION.
func names(found []Found) []string {
	var list []string
	for _, f := range found {
		list = append(list, f.Index.Name+"/"+f.Manifest.Name+"@"+f.Manifest.Version)
	}
	return list
}

func search(t *testing.T, s *Store, text string) []string {
	t.Helper()
	found, err := s.Search(context.Background(), text)
	if err != nil {
		t.Fatal(err)
	}
	return names(found)
}

func expect(t *testing.T, what string, have, want []string) {
	t.Helper()
	if !slices.Equal(have, want) {
		t.Errorf("%s: have %v, want %v", what, have, want)
	}
}

// refused wants an error that says all of these.
func refused(t *testing.T, err error, code int, says ...string) {
	t.Helper()
	for _, text := range says {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("the error says nothing of %q: %v", text, err)
		}
	}
	if have := exitCode(err); have != code {
		t.Errorf("exit status %d, want %d: %v", have, code, err)
	}
}
