package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"

	"github.com/nationtech/harmony/pkg/protocol"
)

// archive is the chart as a .tgz of which every byte follows from the files:
// sorted names, no times, owners or modes of this machine.
//
// The gzip stream holds its bytes stored, not deflated. Versions of a deflate
// implementation differ in what they make of the same bytes, and a release that
// a newer harmony packages again must have the digest that it was published
// with. Charts are small, and Helm compresses what it keeps in the cluster.
func archive(name string, files tree) ([]byte, error) {
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	if err != nil {
		return nil, err
	}
	pack := tar.NewWriter(zip)
	for _, file := range files.names() {
		header := &tar.Header{
			Typeflag: tar.TypeReg,
			Name:     path.Join(name, file),
			Mode:     0o644,
			Size:     int64(len(files[file])),
			ModTime:  time.Unix(0, 0),
		}
		if err := pack.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := pack.Write(files[file]); err != nil {
			return nil, err
		}
	}
	if err := pack.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// annotations are those that Helm gives a chart's manifest. The time of
// creation is a fixed one: a chart made again is the same chart.
func annotations(m *chart.Metadata) map[string]string {
	const prefix = "org.opencontainers.image."
	all := map[string]string{}
	maps.Copy(all, m.Annotations)
	for key, value := range map[string]string{
		"title":       m.Name,
		"version":     m.Version,
		"description": m.Description,
		"url":         m.Home,
		"source":      strings.Join(m.Sources[:min(1, len(m.Sources))], ""),
		"authors":     authors(m.Maintainers),
		"created":     "1970-01-01T00:00:00Z",
	} {
		if value != "" {
			all[prefix+key] = value
		}
	}
	return all
}

func authors(maintainers []*chart.Maintainer) string {
	names := make([]string, len(maintainers))
	for i, m := range maintainers {
		names[i] = m.Name
		if m.Email != "" {
			names[i] += " (" + m.Email + ")"
		}
	}
	return strings.Join(names, ", ")
}

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
