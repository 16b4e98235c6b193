package buildable

import (
	"archive/zip"
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

const secretModule = "private.example.com/secret.git"

// startProxy serves one version of the module to those who log in.
func startProxy(t *testing.T) *httptest.Server {
	t.Helper()
	var packed bytes.Buffer
	files := zip.NewWriter(&packed)
	for name, text := range map[string]string{"go.mod": "module " + secretModule + "\n", "secret.go": "package secret\n\nconst Name = \"secret\"\n"} {
		w, err := files.Create(secretModule + "@v1.0.0/" + name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch path.Ext(r.URL.Path) {
		case ".info":
			fmt.Fprint(w, `{"Version":"v1.0.0","Time":"2024-01-01T00:00:00Z"}`)
		case ".mod":
			fmt.Fprintf(w, "module %s\n", secretModule)
		case ".zip":
			w.Write(packed.Bytes())
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// freshModules gives the go command an empty folder of modules.
func freshModules(t *testing.T) {
	t.Helper()
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOFLAGS", "-modcacherw")
}

func privateProject(t *testing.T) Options {
	t.Helper()
	o := optionsOf(t, protocol.Buildable{Type: "go"}, map[string]string{
		"go.mod":  "module example.com/demo\n\ngo 1.24\n",
		"main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"" + secretModule + "\"\n)\n\nfunc main() { fmt.Print(secret.Name) }\n",
	})
	freshModules(t)
	return o
}

// require adds the module to go.mod and go.sum, as the user would.
func require(t *testing.T, o Options) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "get", secretModule+"@v1.0.0")
	cmd.Dir = o.App.ProjectRoot
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go get: %v\n%s", err, out)
	}
	freshModules(t)
}

func says(t *testing.T, o Options) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(contextOf(t, o).Dir, programFolder, platformName(here())))
	if err != nil {
		t.Fatal(err)
	}
	return runFile(t, text)
}

// TestPrivateModuleByNetrc fetches a module from a server with the login in ~/.netrc.
func TestPrivateModuleByNetrc(t *testing.T) {
	server := startProxy(t)
	home, certificate := t.TempDir(), filepath.Join(t.TempDir(), "ca.pem")
	t.Setenv("GOCACHE", goCache(t))
	write(t, home, map[string]string{".netrc": "machine " + strings.TrimPrefix(server.URL, "https://") + " login me password hunter2\n"})
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(certificate, block, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"HOME": home, "SSL_CERT_FILE": certificate, "GOPROXY": server.URL, "GONOSUMDB": "private.example.com"} {
		t.Setenv(name, value)
	}
	o := privateProject(t)
	require(t, o)
	if got := says(t, o); got != "secret" {
		t.Errorf("the program says %q", got)
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GOPROXY", strings.Replace(server.URL, "https://", "https://me:s3cr3t@", 1))
	failsPrivately(t, o)
}

// TestPrivateModuleByGit fetches a module with git, which the environment tells where
// it is.
func TestPrivateModuleByGit(t *testing.T) {
	repository := t.TempDir()
	write(t, repository, map[string]string{"go.mod": "module " + secretModule + "\n", "secret.go": "package secret\n\nconst Name = \"by git\"\n"})
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "a"}, {"tag", "v1.0.0"}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = repository
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	for name, value := range map[string]string{
		"GOPRIVATE": "private.example.com", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "url.file://" + repository + ".insteadOf", "GIT_CONFIG_VALUE_0": "https://" + strings.TrimSuffix(secretModule, ".git"),
	} {
		t.Setenv(name, value)
	}
	o := privateProject(t)
	require(t, o)
	if got := says(t, o); got != "by git" {
		t.Errorf("the program says %q", got)
	}
	t.Setenv("GIT_CONFIG_KEY_0", "url.https://me:s3cr3t@127.0.0.1:1/.insteadOf")
	failsPrivately(t, o)
}

// failsPrivately builds without access: the error has a hint and no secret.
func failsPrivately(t *testing.T, o Options) {
	t.Helper()
	freshModules(t)
	o.Memory = t.TempDir()
	_, err := inputDigest(t.Context(), openSource(t, o))
	if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "secret.git") {
		t.Errorf("without access: %v", err)
	}
	if hint := protocol.HintOf(err); !strings.Contains(hint, "GOPRIVATE") {
		t.Errorf("without access: %v, hint %q", err, hint)
	}
}

// goCache is where the go command keeps what it compiled, for a test with another HOME.
func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestWithoutCredentials(t *testing.T) {
	for text, want := range map[string]string{
		"fatal: https://me:hunter2@host/x: no":        "fatal: https://***@host/x: no",
		"ssh://git@host and https://token@host:8443":  "ssh://***@host and https://***@host:8443",
		"https://proxy.example.com/a@v1.0.0.zip: 404": "https://proxy.example.com/a@v1.0.0.zip: 404",
	} {
		if got := string(withoutCredentials([]byte(text))); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func FuzzWithoutCredentials(f *testing.F) {
	f.Add("fatal: ", "https", "me:", "host/x: no")
	f.Fuzz(func(t *testing.T, before, scheme, user, after string) {
		if strings.ContainsAny(user, " \t\r\n\f\v/@\"'") {
			t.Skip("not in a URL")
		}
		if got := withoutCredentials([]byte(before + scheme + "://" + user + "hunter2@" + after)); strings.Contains(string(got), user+"hunter2@") {
			t.Errorf("%q", got)
		}
	})
}
