package upstream

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/clustertest/charts"
	"github.com/nationtech/harmony/internal/clustertest/tgz"
	"github.com/nationtech/harmony/pkg/protocol"
)

// archive is a chart as helm package makes it.
func archive(t *testing.T, name, version, note string) []byte {
	t.Helper()
	return tgz.Of(t, 0o644, map[string]string{
		name + "/Chart.yaml":        "apiVersion: v2\nname: " + name + "\nversion: " + version + "\nappVersion: \"7.4\"\n",
		name + "/templates/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {note: " + note + "}\n",
	})
}

// alone gives the test a cache and credentials of its own.
func alone(t *testing.T) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
}

// push puts a chart, with a provenance file if there is one, into a registry.
func push(t *testing.T, host, tag string, chart, provenance []byte) {
	t.Helper()
	layers := []v1.Layer{static.NewLayer(chart, file.Layer)}
	if provenance != nil {
		layers = append(layers, static.NewLayer(provenance, provenanceLayer))
	}
	charts.Push(t, host+"/charts/redis:"+tag, layers...)
}

func TestRegistry(t *testing.T) {
	alone(t)
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	first, second := archive(t, "redis", "20.1.0", "first"), archive(t, "redis", "20.1.0", "second")
	push(t, host, "20.1.0", first, []byte("signed"))
	source := protocol.ChartSource{URL: "oci://" + host + "/charts/redis", Version: "20.1.0", Keyring: "keys"}
	found, err := Find(t.Context(), source)
	if err != nil || !bytes.Equal(found.Archive, first) || string(found.Provenance) != "signed" {
		t.Fatalf("found %d bytes with the provenance %q, %v", len(found.Archive), found.Provenance, err)
	}
	// What was locked is still fetched when the tag leads elsewhere.
	push(t, host, "20.1.0", second, nil)
	source.Locked = &protocol.LockedChart{Digest: found.Digest()}
	if got, err := Fetch(t.Context(), source); err != nil || !bytes.Equal(got, first) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	server.Close()
	if got, err := Fetch(t.Context(), source); err != nil || !bytes.Equal(got, first) {
		t.Errorf("without the registry: %d bytes, %v", len(got), err)
	}
	source.Locked = &protocol.LockedChart{Digest: "sha256:" + strings.Repeat("0", 64)}
	if _, err := Fetch(t.Context(), source); protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("another digest without the registry: %v", err)
	}
}

func TestNotLocked(t *testing.T) {
	_, err := Fetch(t.Context(), protocol.ChartSource{URL: "oci://localhost:1/charts/redis", Version: "1.0.0"})
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(protocol.HintOf(err), "harmony lock") {
		t.Errorf("%v", err)
	}
}

// A damaged file in the cache is fetched again.
func TestCacheIsChecked(t *testing.T) {
	alone(t)
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	chart := archive(t, "redis", "20.1.0", "x")
	push(t, host, "20.1.0", chart, nil)
	digest := Chart{Archive: chart}.Digest()
	if err := os.MkdirAll(filepath.Dir(keptAt(digest)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keptAt(digest), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	source := protocol.ChartSource{URL: "oci://" + host + "/charts/redis", Version: "20.1.0", Locked: &protocol.LockedChart{Digest: digest}}
	if got, err := Fetch(t.Context(), source); err != nil || !bytes.Equal(got, chart) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// repositoryOf serves files, those that begin with http as redirects, and writes down
// who asked with a password.
type repositoryOf struct {
	files    map[string]string
	password []string
}

func (r *repositoryOf) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if user, _, ok := request.BasicAuth(); ok {
		r.password = append(r.password, user+" "+request.URL.Path)
	}
	text, ok := r.files[strings.TrimPrefix(request.URL.Path, "/")]
	switch {
	case !ok:
		http.NotFound(w, request)
	case strings.HasPrefix(text, "http"):
		http.Redirect(w, request, text, http.StatusFound)
	default:
		_, _ = w.Write([]byte(text))
	}
}

func index(version, url, digest string) string {
	return fmt.Sprintf("apiVersion: v1\nentries:\n  other: 7\n  redis:\n  - {name: redis, version: 19.0.0, urls: [redis-19.0.0.tgz]}\n  - {name: redis, version: %s, urls: [%q], digest: %q}\n", version, url, digest)
}

func TestRepository(t *testing.T) {
	chart := archive(t, "redis", "20.1.0", "x")
	digest := Chart{Archive: chart}.Digest()
	hex := strings.TrimPrefix(digest, "sha256:")
	for _, c := range []struct {
		name  string
		files map[string]string
		code  int
		want  string
	}{
		{"beside the index", map[string]string{"index.yaml": index("20.1.0", "redis-20.1.0.tgz", hex), "redis-20.1.0.tgz": string(chart)}, protocol.ExitOK, ""},
		{"below it", map[string]string{"index.yaml": index("v20.1.0", "charts/redis-20.1.0.tgz", ""), "charts/redis-20.1.0.tgz": string(chart)}, protocol.ExitOK, ""},
		{"no index", nil, protocol.ExitFailed, "index.yaml: the server returned 404"},
		{"not YAML", map[string]string{"index.yaml": "a: [\n"}, protocol.ExitFailed, "index.yaml: yaml: "},
		{"another chart", map[string]string{"index.yaml": "entries: {nginx: []}\n"}, protocol.ExitInvalid, `lists no chart "redis"`},
		{"another version", map[string]string{"index.yaml": index("20.2.0", "x.tgz", "")}, protocol.ExitInvalid, "lists no version 20.1.0"},
		{"another digest", map[string]string{"index.yaml": index("20.1.0", "x.tgz", strings.Repeat("0", 64)), "x.tgz": string(chart)}, protocol.ExitFailed, "has the digest " + digest + ", and index.yaml tells 000"},
		{"no archive", map[string]string{"index.yaml": index("20.1.0", "x.tgz", "")}, protocol.ExitFailed, "x.tgz: the server returned 404"},
		{"a file of this machine", map[string]string{"index.yaml": index("20.1.0", "file:///etc/passwd", "")}, protocol.ExitInvalid, "by https only"},
		{"plain http elsewhere", map[string]string{"index.yaml": index("20.1.0", "http://charts.example.com/x.tgz", "")}, protocol.ExitInvalid, "by https only"},
		{"with a password", map[string]string{"index.yaml": index("20.1.0", "https://a:b@charts.example.com/x.tgz", "")}, protocol.ExitInvalid, "is no address"},
		{"redirected to https", map[string]string{"index.yaml": "https://charts.example.com/index.yaml"}, protocol.ExitFailed, "redirects from http:// to https://"},
		{"too large", map[string]string{"index.yaml": index("20.1.0", "x.tgz", ""), "x.tgz": strings.Repeat("x", file.MaxArchive+1)}, protocol.ExitFailed, "is over 20 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			alone(t)
			server := httptest.NewServer(&repositoryOf{files: c.files})
			defer server.Close()
			source := protocol.ChartSource{URL: server.URL, Name: "redis", Version: "20.1.0"}
			found, err := Find(t.Context(), source)
			if protocol.ExitCode(err) != c.code || c.want != "" && !strings.Contains(fmt.Sprint(err), c.want) {
				t.Fatalf("status %d: %v; want %q", protocol.ExitCode(err), err, c.want)
			}
			if err != nil {
				return
			}
			if !bytes.Equal(found.Archive, chart) || !strings.HasPrefix(found.URL, server.URL+"/") {
				t.Errorf("%d bytes of %s", len(found.Archive), found.URL)
			}
			source.Locked = &protocol.LockedChart{Digest: digest, Archive: found.URL}
			if got, err := Fetch(t.Context(), source); err != nil || !bytes.Equal(got, chart) {
				t.Errorf("by its digest: %d bytes, %v", len(got), err)
			}
		})
	}
}

// Other bytes at the address that is locked are not taken.
func TestReplacedInARepository(t *testing.T) {
	alone(t)
	served := &repositoryOf{files: map[string]string{"x.tgz": "another"}}
	server := httptest.NewServer(served)
	defer server.Close()
	digest := "sha256:" + strings.Repeat("0", 64)
	source := protocol.ChartSource{URL: server.URL, Name: "redis", Version: "20.1.0", Locked: &protocol.LockedChart{Digest: digest, Archive: server.URL + "/x.tgz"}}
	_, err := Fetch(t.Context(), source)
	if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(fmt.Sprint(err), "and harmony.lock has "+digest) || !strings.Contains(protocol.HintOf(err), "harmony lock --update") {
		t.Errorf("%v", err)
	}
}

// Credentials go to the repository, and not to where its archives are.
func TestCredentialsStay(t *testing.T) {
	alone(t)
	chart := archive(t, "redis", "20.1.0", "x")
	elsewhere := &repositoryOf{files: map[string]string{"redis.tgz": string(chart), "again.tgz": string(chart)}}
	other := httptest.NewServer(elsewhere)
	defer other.Close()
	for _, url := range []string{other.URL + "/redis.tgz", "redirected.tgz"} {
		own := &repositoryOf{files: map[string]string{"index.yaml": index("20.1.0", url, ""), "redirected.tgz": other.URL + "/again.tgz"}}
		server := httptest.NewServer(own)
		login := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, strings.TrimPrefix(server.URL, "http://"), base64.StdEncoding.EncodeToString([]byte("user:secret")))
		if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(login), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Find(t.Context(), protocol.ChartSource{URL: server.URL, Name: "redis", Version: "20.1.0"}); err != nil {
			t.Fatal(err)
		}
		server.Close()
		if len(own.password) == 0 || own.password[0] != "user /index.yaml" {
			t.Errorf("the repository was asked with %q", own.password)
		}
	}
	if len(elsewhere.password) > 0 {
		t.Errorf("another host was told the password: %q", elsewhere.password)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(index("20.1.0", "redis-20.1.0.tgz", "00")))
	f.Add([]byte("entries: {redis: [null, {version: 1.0, urls: [a]}, *x]}"))
	f.Add([]byte("entries: {redis: &a [*a]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := parseIndex(text, "redis")
		if err != nil {
			return
		}
		if chosen, err := choose(entries, "20.1.0"); err == nil && len(chosen.URLs) == 0 {
			t.Error("an entry without an archive was chosen")
		}
	})
}
