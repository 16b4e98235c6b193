package appkit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/appkit"
	"github.com/nationtech/harmony/pkg/protocol"
)

// run answers arguments and returns the documents on stdout.
func run(t *testing.T, p appkit.Plugin, stdin string, args ...string) (int, []protocol.Document) {
	t.Helper()
	var out bytes.Buffer
	code := p.Main(t.Context(), appkit.Streams{In: strings.NewReader(stdin), Out: &out, Err: t.Output()}, args)
	var documents []protocol.Document
	for line := range bytes.Lines(out.Bytes()) {
		d, err := protocol.Parse(bytes.TrimSpace(line))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		documents = append(documents, d)
	}
	return code, documents
}

func stream(t *testing.T, specs ...protocol.Spec) string {
	t.Helper()
	var out bytes.Buffer
	writer := protocol.NewWriter(&out)
	for _, s := range specs {
		if err := writer.WriteSpec(s); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestDescribeAndApps(t *testing.T) {
	code, documents := run(t, shop(), "", "describe")
	if code != 0 || len(documents) != 1 {
		t.Fatalf("status %d, %v", code, documents)
	}
	info, err := protocol.Decode[protocol.PluginInfo](documents[0])
	if err != nil || len(info.Apps) != 1 || info.Apps[0] != "shop" || info.Protocol.Max < 1 {
		t.Errorf("describe answers %+v, %v", info, err)
	}
	code, documents = run(t, shop(), "", "apps")
	if code != 0 || len(documents) != 1 {
		t.Fatalf("status %d, %v", code, documents)
	}
	app, err := protocol.Decode[protocol.AppSpec](documents[0])
	if err != nil || app.Validate() != nil || app.Chart.Builder == nil || !filepath.IsAbs(app.ProjectRoot) {
		t.Errorf("apps answers %+v, %v", app, err)
	}
}

func TestChart(t *testing.T) {
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop", Version: "1.4.0"}}
	image := protocol.ImageRef{Metadata: app.Metadata, Registry: "r.example.com", Repository: "shop", Tag: "1.4.0", Digest: "sha256:" + strings.Repeat("a", 64)}
	dir := t.TempDir()
	code, documents := run(t, shop(), stream(t, app, image), "chart", "--output", dir)
	if code != 0 || len(documents) != 1 {
		t.Fatalf("status %d, %v", code, documents)
	}
	ref, err := protocol.Decode[protocol.ChartRef](documents[0])
	if err != nil || ref.Path != filepath.Join(dir, "shop") || ref.ChartVersion != "1.4.0" || ref.Name != "shop" {
		t.Errorf("chart answers %+v, %v", ref, err)
	}
	text, err := os.ReadFile(filepath.Join(ref.Path, "templates/deployment-shop.yaml"))
	if err != nil || !strings.Contains(string(text), "image: "+image.String()) {
		t.Errorf("%v:\n%s", err, text)
	}
}

func TestRefuses(t *testing.T) {
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop"}}
	other := protocol.AppSpec{Metadata: protocol.Metadata{Name: "other"}}
	imageOf := func(a protocol.AppSpec) protocol.ImageRef { return protocol.ImageRef{Metadata: a.Metadata} }
	without := shop()
	without.Apps[0].Chart = nil
	for _, test := range []struct {
		name   string
		plugin appkit.Plugin
		stdin  string
		args   []string
		code   int
		want   string
	}{
		{"unknown command", shop(), "", []string{"deplay"}, protocol.ExitInvalid, `no command "deplay"`},
		{"unknown app", shop(), "", []string{"apps", "x"}, protocol.ExitInvalid, "has shop"},
		{"no folder", shop(), "", []string{"chart"}, protocol.ExitInvalid, "--output DIR"},
		{"unknown flag", shop(), "", []string{"chart", "--out=x"}, protocol.ExitInvalid, "out"},
		{"no documents", shop(), "", []string{"chart", "--output", "x"}, protocol.ExitInvalid, "no AppSpec"},
		{"image of another app", shop(), stream(t, app, imageOf(other)), []string{"chart", "--output", "x"}, protocol.ExitInvalid, "no ImageRef"},
		{"not JSON", shop(), "{\n", []string{"chart", "--output", "x"}, protocol.ExitInvalid, "stdin"},
		{"another app", shop(), stream(t, other, imageOf(other)), []string{"chart", "--output", "x"}, protocol.ExitInvalid, `no app "other"`},
		{"no chart", without, stream(t, app, imageOf(app)), []string{"chart", "--output", "x"}, protocol.ExitUnsupported, "makes no chart"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, documents := run(t, test.plugin, test.stdin, test.args...)
			if code != test.code || len(documents) != 1 {
				t.Fatalf("status %d, want %d; %v", code, test.code, documents)
			}
			failure, err := protocol.Decode[protocol.Failure](documents[0])
			if err != nil || failure.Code != test.code || !strings.Contains(failure.Message, test.want) {
				t.Errorf("answers %+v, %v; want %q", failure, err, test.want)
			}
		})
	}
}
