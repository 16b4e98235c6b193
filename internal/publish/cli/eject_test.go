package cli_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/chart"
	helmpack "github.com/nationtech/harmony/internal/chart/pack"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/internal/publish/cli"
	"github.com/nationtech/harmony/pkg/protocol"
)

const generated = `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: web}
spec:
  image: {buildable: {type: go}}
  chart:
    workload:
      ports: [{name: http, port: 8080}]
      readinessProbe: {http: {path: /healthz}}
  targets:
    staging: {values: {replicas: 2, env: {LOG_LEVEL: debug}}}
---
apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: other}
spec:
  image: {buildable: {type: go}}
  chart: {path: charts/other, image: {value: image}}
`

// project writes a harmony.yaml and returns its path.
func project(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "harmony.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// command runs harmony publish with the flag.
func command(file, dir string, apps ...string) (string, error) {
	flags := &publish.Flags{}
	root := &cobra.Command{Args: cobra.ArbitraryArgs, SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error { return io.ErrUnexpectedEOF }}
	root.Flags().String("file", "", "")
	flags.Bind(root.Flags())
	cli.Eject(flags, os.Getenv)(root)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(append([]string{"--file", file, "--eject-chart", dir}, apps...))
	err := root.Execute()
	return out.String(), err
}

// pack is the archive of the first app's chart.
func pack(t *testing.T, file string) chart.Chart {
	t.Helper()
	loaded, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	app := loaded.Apps[0]
	app.Version = "1.4.0"
	image := protocol.ImageRef{Registry: "localhost:5001", Repository: "web", Tag: "1.4.0", Digest: "sha256:" + strings.Repeat("ab", 32)}
	packed, err := helmpack.Pack(t.Context(), app, image)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// The chart that was ejected, with what was told to be put in harmony.yaml, is
// the very one that was generated: to the byte, so it renders the same objects.
func TestEjectedChartIsTheGeneratedOne(t *testing.T) {
	file := project(t, generated)
	before := pack(t, file)
	dir := filepath.Join(filepath.Dir(file), "charts", "web")
	out, err := command(file, dir, "web")
	if err != nil {
		t.Fatal(err)
	}
	from, until := strings.Index(generated, "  chart:\n"), strings.Index(generated, "  targets:")
	var told strings.Builder
	for line := range strings.Lines(out) {
		told.WriteString("  " + line)
	}
	text := generated[:from] + told.String() + generated[until:]
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	after := pack(t, file)
	if before.Digest() != after.Digest() || !slices.Equal(before.Image, after.Image) {
		t.Errorf("the chart was %s, %v and is %s, %v", before.Digest(), before.Image, after.Digest(), after.Image)
	}
	// What is changed in the folder is in the chart.
	if err := os.WriteFile(filepath.Join(dir, "templates", "settings.yaml"), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changed := pack(t, file); changed.Digest() == after.Digest() {
		t.Error("a template more makes no other chart")
	}
}

func TestRefuses(t *testing.T) {
	file := project(t, generated)
	root := filepath.Dir(file)
	if err := os.MkdirAll(filepath.Join(root, "charts", "held", "templates"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		dir  string
		apps []string
		want string
	}{
		"a folder with something in it": {filepath.Join(root, "charts", "held"), []string{"web"}, "is not empty"},
		"outside of the project":        {t.TempDir(), []string{"web"}, "is not a folder below"},
		"the project itself":            {root, []string{"web"}, "is not a folder below"},
		"an app with a chart":           {filepath.Join(root, "a"), []string{"other"}, "has a chart"},
		"two apps":                      {filepath.Join(root, "a"), []string{"*"}, "for one app"},
		"no such app":                   {filepath.Join(root, "a"), []string{"wob"}, "wob"},
	} {
		out, err := command(file, test.dir, test.apps...)
		if err == nil || !strings.Contains(err.Error(), test.want) || protocol.ExitCode(err) != protocol.ExitInvalid || out != "" {
			t.Errorf("%s: got status %d, %v, and %q", name, protocol.ExitCode(err), err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "a")); !os.IsNotExist(err) {
		t.Errorf("something was written: %v", err)
	}
	if _, err := command(file, "", "web"); err != io.ErrUnexpectedEOF {
		t.Errorf("without the flag: %v", err)
	}
}
