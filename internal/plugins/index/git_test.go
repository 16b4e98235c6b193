package index

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// gitServer serves the repositories of a folder by https, as git's own program
// does it. Requests below /away are sent somewhere else.
func gitServer(t *testing.T, root, away string) string {
	t.Helper()
	backend, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	handler := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(backend)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"},
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/away"); ok {
			http.Redirect(w, r, away+rest+"?"+r.URL.RawQuery, http.StatusFound)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_SSL_CAINFO", authority)
	return server.URL
}

// A repository behind a server, with the index in its folder plugin-index, and
// the states that a caller inside another repository is in.
func TestGitByHTTPS(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	repo := filepath.Join(root, "plugins.git")
	if err := os.MkdirAll(filepath.Join(repo, "plugin-index"), 0o755); err != nil {
		t.Fatal(err)
	}
	git(t, repo, "init", "--quiet")
	fill(t, filepath.Join(repo, "plugin-index"), offer("fleet", "1.0.0"))
	fill(t, repo, offer("decoy", "1.0.0"))
	git(t, repo, "add", "--all")
	git(t, repo, "commit", "--quiet", "--message=x")

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	url := gitServer(t, root, plain.URL)
	t.Setenv("GIT_DIR", filepath.Join(t.TempDir(), "nowhere"))
	s := store(t)
	if err := s.Add(ctx, Index{Name: "corp", URL: url + "/plugins.git"}); err != nil {
		t.Fatal(err)
	}
	s.Only = "corp"
	expect(t, "search", search(t, s, ""), []string{"corp/fleet@1.0.0"})

	refused(t, s.Add(ctx, Index{Name: "gone", URL: url + "/gone.git"}), protocol.ExitFailed, "index gone: git clone", "not found")
	err := s.Add(ctx, Index{Name: "away", URL: url + "/away/plugins.git"})
	refused(t, err, protocol.ExitFailed, "index away: git clone")
	if hint := protocol.HintOf(err); !strings.Contains(hint, "other than https and ssh are refused") {
		t.Errorf("%v, hint %q", err, hint)
	}
	t.Setenv("GIT_SSL_CAINFO", "/dev/null")
	refused(t, s.Update(ctx, "corp"), protocol.ExitFailed, "index corp: git clone")
	expect(t, "search in the old copy", search(t, s, ""), []string{"corp/fleet@1.0.0"})
}

// The caller's settings neither make git ask nor lead it elsewhere.
func TestGitEnvironment(t *testing.T) {
	env := repository{}.environment([]string{"PATH=/bin", "GIT_DIR=x", "GIT_ASKPASS=x", "GIT_ALLOW_PROTOCOL=ext", "GIT_SSH_COMMAND=ssh -i key"})
	for _, want := range []string{"PATH=/bin", "GIT_SSH_COMMAND=ssh -i key", "GIT_TERMINAL_PROMPT=0"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing in %v", want, env)
		}
	}
	if slices.Contains(env, "GIT_DIR=x") || slices.Contains(env, "GIT_ASKPASS=x") {
		t.Errorf("what leads elsewhere is in %v", env)
	}
	last := ""
	for _, v := range env {
		if strings.HasPrefix(v, "GIT_ALLOW_PROTOCOL=") {
			last = v
		}
	}
	if last != "GIT_ALLOW_PROTOCOL=https:ssh" {
		t.Errorf("%s holds", last)
	}
}
