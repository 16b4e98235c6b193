package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The chart of pinned images is the one that harmony-chart would publish, and nothing is
// compared that is not published.
func TestPinnedChart(t *testing.T) {
	const ref = `{"apiVersion":"harmony.nationtech.io/v1","kind":"ChartRef","metadata":{"name":"store","version":"1.0.0"},"spec":{"url":"oci://r.example.com/store","chart":"store","chartVersion":"3.2.1","digest":"sha256:` +
		`aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","image":{},"pinned":true,"planned":true,"unchanged":UNCHANGED}}`
	for unchanged, want := range map[string]string{
		"true": "", "false": "chart store 3.2.1 with the images of harmony.lock is not published",
		"none": `app "store" has failed`,
	} {
		t.Run(unchanged, func(t *testing.T) {
			folder := t.TempDir()
			answer := strings.Replace(ref, "UNCHANGED", unchanged, 1)
			if unchanged == "none" {
				answer = `{"apiVersion":"harmony.nationtech.io/v1","kind":"Failure","metadata":{"name":"store","version":"1.0.0"},"spec":{"stage":"publish","code":2,"message":"app \"store\" has failed"}}`
			}
			script := "#!/bin/sh\n[ \"$*\" = '--output json --dry-run' ] || exit 9\nwhile IFS= read -r line; do\n  printf '%s\\n' \"$line\"\n" +
				"  case $line in *'\"kind\":\"AppSpec\"'*) printf '%s\\n' '" + answer + "';; esac\ndone\n"
			if err := os.WriteFile(filepath.Join(folder, "harmony-chart"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
			var stderr bytes.Buffer
			tools := Tools{Streams: command.Streams{Err: &stderr, Getenv: os.Getenv}}
			topology := protocol.Topology{
				Metadata:    protocol.Metadata{Name: "ci"},
				OCIRegistry: &protocol.Provider{Adapter: "oci", URL: "r.example.com"}, HelmRegistry: &protocol.Provider{Adapter: "oci", URL: "r.example.com"},
			}
			app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "store", Version: "1.0.0"}, ProjectRoot: "/"}
			app.Chart = protocol.ChartSource{URL: "oci://charts.example.com/store", Version: "3.2.1", PinImages: true}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			found, err := tools.published(ctx, topology, app)
			if want != "" {
				if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
				return
			}
			if err != nil || !found.chart.Pinned || found.chart.Planned || found.chart.Unchanged || !strings.HasPrefix(found.chart.Digest, "sha256:aaa") || !found.image.IsNone() {
				t.Errorf("%+v, %v", found.chart, err)
			}
		})
	}
}
