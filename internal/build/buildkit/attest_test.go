package buildkit

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/nationtech/harmony/pkg/protocol"
)

// statements are the in-toto statements beside the images of a layout, by the
// type of what they say.
func statements(t *testing.T, ref protocol.ImageRef) map[string]string {
	t.Helper()
	top, err := layout.ImageIndexFromPath(ref.Path)
	must(t, err)
	manifest, err := top.IndexManifest()
	must(t, err)
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	must(t, err)
	manifest, err = index.IndexManifest()
	must(t, err)
	found := map[string]string{}
	for _, m := range manifest.Manifests {
		if m.Annotations["vnd.docker.reference.type"] != "attestation-manifest" {
			continue
		}
		image, err := index.Image(m.Digest)
		must(t, err)
		layers, err := image.Layers()
		must(t, err)
		for _, l := range layers {
			r, err := l.Uncompressed()
			must(t, err)
			data, err := io.ReadAll(r)
			must(t, err)
			var s struct {
				PredicateType string `json:"predicateType"`
			}
			must(t, json.Unmarshal(data, &s))
			found[s.PredicateType] = string(data)
		}
	}
	return found
}

// The generator is a stand-in that speaks the scanner protocol: it writes one
// statement about the folder that it is given.
func TestAttestations(t *testing.T) {
	base := pushBusybox(t)
	generator := pushShell(t, "scanner", v1.Config{Env: []string{"PATH=/bin"}, Entrypoint: []string{"/bin/sh", "-c",
		`echo '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","predicate":{"SPDXID":"SPDXRef-DOCUMENT","files":"'$(ls $BUILDKIT_SCAN_SOURCE)'"}}' > $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json`}})
	const secret = "s3cr3t-value-of-the-test"
	t.Setenv("TEST_TOKEN", secret)
	settings := map[string]any{"address": startReady(t).address, "provenance": "max", "sbom": map[string]any{"generator": generator}}
	p := newProject(t, settings, map[string]string{
		"Dockerfile": "FROM " + base + " AS build\nRUN --mount=type=secret,id=token cat /run/secrets/token | wc -c > /size\nFROM scratch\nCOPY --from=build /size /listed\n",
	})
	p.app.Image.Dockerfile.Secrets = map[string]string{"token": "env:TEST_TOKEN"}
	ref := p.mustBuild()
	if strings.Join(ref.Platforms, " ") != "linux/amd64" {
		t.Errorf("platforms %v", ref.Platforms)
	}
	found := statements(t, ref)
	if !strings.Contains(found["https://slsa.dev/provenance/v1"], "buildDefinition") {
		t.Errorf("no SLSA v1 provenance: %v", found)
	}
	if !strings.Contains(found["https://spdx.dev/Document"], "listed") {
		t.Errorf("no list of what is in the image: %v", found)
	}
	err := filepath.WalkDir(p.env.Cache, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	must(t, err)
	document, err := json.Marshal(ref)
	must(t, err)
	if strings.Contains(p.told()+string(document), secret) {
		t.Error("the secret was told")
	}
	if again := p.mustBuild(); !again.Unchanged {
		t.Errorf("an image with attestations is not found again: %+v", again)
	}
}

func TestPushWithCredentials(t *testing.T) {
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hunter2" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	p := newProject(t, addressed(startReady(t)), scratchFiles)
	p.env.Topology.OCIRegistry = &protocol.Provider{Adapter: "oci", URL: host + "/x"}
	if ref, err := p.build(t.Context()); err == nil {
		t.Errorf("pushed without credentials: %+v", ref)
	}
	t.Setenv("HARMONY_REGISTRY", host)
	t.Setenv("HARMONY_REGISTRY_USERNAME", "me")
	t.Setenv("HARMONY_REGISTRY_PASSWORD", "hunter2")
	if ref := p.mustBuild(); ref.Location != protocol.InRegistry || strings.Contains(p.told(), "hunter2") {
		t.Errorf("%+v\n%s", ref, p.told())
	}
}
