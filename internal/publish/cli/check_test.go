package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/pkg/protocol"
)

const secret = "s3cr3t-of-the-test"

// server lets everybody pull, and nobody push.
func server(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2/":
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestCheck(t *testing.T) {
	host := server(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "harmony.yaml")
	text := "apiVersion: harmony.nationtech.io/v1\nkind: Topology\nmetadata: {name: mine}\nspec:\n  ociRegistry: {adapter: oci, url: " + host + "/fleet}\n  helmRegistry: {adapter: none}\n"
	config := `{"auths":{"` + host + `":{"username":"robot$x","password":"` + secret + `"}}}`
	for path, text := range map[string]string{file: text, filepath.Join(dir, "config.json"): config} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HARMONY_REGISTRY", "")
	run := func(output string, how string) (string, error) {
		flags := &publish.Flags{}
		root := &cobra.Command{Args: cobra.ArbitraryArgs, Use: "publish", SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error {
			t.Error("the stage ran")
			return nil
		}}
		for _, name := range []string{"file", "topology", "output"} {
			root.Flags().String(name, "", "")
		}
		flags.Bind(root.Flags())
		Check(flags, os.Getenv)(root)
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs([]string{how, "--file", file, "--topology", "mine", "--output", output})
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
	out, err := run("json", "check")
	var got struct{ Registries []Result }
	if failed := json.Unmarshal([]byte(out), &got); failed != nil || len(got.Registries) != 2 {
		t.Fatalf("%v: %s", failed, out)
	}
	first, second := got.Registries[0], got.Registries[1]
	if protocol.ExitCode(err) != protocol.ExitFailed || !*first.Pull || *first.Push || !strings.Contains(first.Reason, "requested access to the resource is denied") || !strings.Contains(first.Source, "config.json") || first.Repository != host+"/fleet/harmony-check" {
		t.Errorf("got status %d, %s", protocol.ExitCode(err), out)
	}
	if second.Adapter != "none" || second.Pull != nil {
		t.Errorf("got %+v", second)
	}
	table, err := run("text", "--check")
	if err == nil || !strings.Contains(table, "yes   no") {
		t.Errorf("got %v\n%s", err, table)
	}
	if strings.Contains(out+table+err.Error(), secret) {
		t.Error("it shows the secret")
	}
}
