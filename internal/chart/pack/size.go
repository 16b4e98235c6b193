package pack

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"

	"github.com/nationtech/harmony/pkg/protocol"
)

// maxRelease is the most that a Secret holds, in which Helm keeps a release:
// chart, values and manifest.
const maxRelease = 1 << 20

// checkSize refuses a chart whose release would not fit into the cluster, and
// names its largest part.
func checkSize(app protocol.AppSpec, c *chart.Chart, values map[string]any, rendered map[string]string) error {
	var manifest strings.Builder
	for _, file := range slices.Sorted(maps.Keys(rendered)) {
		if !strings.HasSuffix(file, "/NOTES.txt") {
			fmt.Fprintf(&manifest, "---\n# Source: %s\n%s\n", file, rendered[file])
		}
	}
	size, err := storedSize(&release.Release{
		Name: app.Name, Version: 1, Namespace: "default", Info: &release.Info{Status: release.StatusDeployed},
		Chart: c, Config: values, Manifest: manifest.String(),
	})
	if err != nil || size < maxRelease {
		return err
	}
	name, length := largest(c, rendered)
	return protocol.Invalid("the release would have %d bytes in the cluster, and a Secret holds under %d; the largest part is %s with %d before compression", size, maxRelease, name, length).
		WithHint("leave files that the chart does not need out in .helmignore; keep data in an image or a volume")
}

// storedSize is the length of a release as Helm stores it.
func storedSize(r *release.Release) (int, error) {
	encoded, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	if _, err := zip.Write(encoded); err != nil {
		return 0, err
	}
	if err := zip.Close(); err != nil {
		return 0, err
	}
	return base64.StdEncoding.EncodedLen(packed.Len()), nil
}

func largest(c *chart.Chart, rendered map[string]string) (name string, size int) {
	for _, f := range slices.Concat(c.Files, c.Templates) {
		if len(f.Data) > size {
			name, size = f.Name, len(f.Data)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(rendered)) {
		if len(rendered[file]) > size {
			name, size = "what "+strings.TrimPrefix(file, c.Name()+"/")+" renders to", len(rendered[file])
		}
	}
	return name, size
}
