package helm

import (
	"os"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestLoadChart(t *testing.T) {
	want := record{chart: "c", image: "i", images: "x=i@sha256:i", values: "v"}
	save := func(c *chart.Chart) []byte {
		t.Helper()
		path, err := chartutil.Save(c, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		archive, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return archive
	}
	loaded, err := loadChart(save(&chart.Chart{Metadata: &chart.Metadata{APIVersion: "v2", Name: "app", Version: "1.0.0"}}), want, "2.0.0")
	if err != nil {
		t.Fatal(err)
	}
	got := recordOf(&release.Release{Chart: loaded})
	if got != want {
		t.Errorf("record %+v, want %+v", got, want)
	}
	if version := versionOf(&release.Release{Chart: loaded}); version != "2.0.0" {
		t.Errorf("version %q", version)
	}
	library := save(&chart.Chart{Metadata: &chart.Metadata{APIVersion: "v2", Name: "app", Version: "1.0.0", Type: "library"}})
	for name, archive := range map[string][]byte{"library": library, "no archive": []byte("text"), "empty": nil} {
		if _, err := loadChart(archive, want, "2.0.0"); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("%s: error %v, want invalid input", name, err)
		}
	}
}
