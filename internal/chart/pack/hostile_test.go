package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// tgz makes an archive. A nil header's size is that of the text.
func tgz(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	pack := tar.NewWriter(zip)
	for _, header := range headers {
		text := header.Uname // borrowed: the file's text
		header.Uname = ""
		if header.Typeflag == 0 {
			header.Typeflag = tar.TypeReg
		}
		if header.Size == 0 {
			header.Size = int64(len(text))
		}
		if err := pack.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		content := io.Reader(strings.NewReader(text))
		if int64(len(text)) < header.Size {
			content = io.LimitReader(zeros{}, header.Size)
		}
		if _, err := io.Copy(pack, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := pack.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func entry(name, text string) tar.Header { return tar.Header{Name: name, Uname: text, Mode: 0o644} }

const subchart = "apiVersion: v2\nname: sub\nversion: 1.0.0\n"

// A vendored archive is looked at before it is unpacked.
func TestPackRefusesHostileArchives(t *testing.T) {
	chart := entry("sub/Chart.yaml", subchart)
	var bomb []tar.Header
	for i := range 25 {
		bomb = append(bomb, tar.Header{Name: fmt.Sprintf("sub/f%d", i), Size: 5 << 20, Mode: 0o644})
	}
	nested := tgz(t, chart)
	for range 6 {
		nested = tgz(t, chart, entry("sub/charts/sub.tgz", nested))
	}
	var chain []tar.Header // each archive is within bounds, all together are not
	for i := range 6 {
		chain = append(chain, entry(fmt.Sprintf("sub/charts/s%d.tgz", i), tgz(t, append([]tar.Header{chart}, bomb[:4]...)...)))
	}
	many := make([]tar.Header, maxEntries+1)
	for i := range many {
		many[i] = entry(fmt.Sprintf("sub/%d", i), "")
	}
	tests := []struct{ name, data, want string }{
		{"bomb", tgz(t, bomb...), "unpacks to over 104857600 bytes"},
		{"bombs in archives", tgz(t, append(chain, chart)...), "unpacks to over 104857600 bytes"},
		{"large file", tgz(t, tar.Header{Name: "sub/big", Size: 5<<20 + 1, Mode: 0o644}), "Helm takes 5242880 at most"},
		{"too many files", tgz(t, many...), "over 10000 files"},
		{"archives in archives", nested, "archives lie in one another"},
		{"climbs out", tgz(t, chart, entry("sub/../../x", "x")), `entry "sub/../../x" leaves the chart`},
		{"climbs at the start", tgz(t, entry("../x", "x")), `leaves the chart`},
		{"absolute", tgz(t, entry("/etc/x", "x")), `entry "/etc/x" leaves the chart`},
		{"backslash", tgz(t, entry(`sub\..\x`, "x")), `has no '\\'`},
		{"second folder", tgz(t, chart, entry("other/x", "x")), `outside of the chart's folder "sub"`},
		{"no folder", tgz(t, entry("Chart.yaml", subchart)), `outside of the chart's folder`},
		{"symbolic link", tgz(t, chart, tar.Header{Name: "sub/a", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), `"sub/a" is neither a file nor a folder`},
		{"hard link", tgz(t, chart, tar.Header{Name: "sub/a", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), `"sub/a" is neither a file nor a folder`},
		{"file twice", tgz(t, chart, chart), `entry "sub/Chart.yaml" is there twice`},
		{"empty", tgz(t), "holds no files"},
		{"name that climbs", tgz(t, entry("sub/Chart.yaml", "name: ../sub\nversion: 1.0.0\n")), `Chart.yaml: line 1: name "../sub" is invalid`},
		{"version that climbs", tgz(t, entry("sub/Chart.yaml", "name: sub\nversion: ../1\n")), `Chart.yaml: line 2: version "../1" is invalid`},
		{"duplicate key", tgz(t, entry("sub/Chart.yaml", "name: sub\nname: sub\n")), `mapping key "name" already defined`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := base()
			files["charts/sub.tgz"] = test.data
			_, err := pack(t, files, protocol.ChartImage{Value: "image"})
			refused(t, err, "charts/sub.tgz: ")
			refused(t, err, test.want)
		})
	}
	// The app's own chart can be an archive too, and is held to the same.
	for _, test := range tests[:6] {
		path := filepath.Join(t.TempDir(), "sub.tgz")
		if err := os.WriteFile(path, []byte(test.data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(t.Context(), path); strings.Contains(test.name, "archives") == (err != nil) {
			t.Errorf("%s as the chart itself: %v", test.name, err)
		}
	}
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("got status %d, %v; want %q", protocol.ExitCode(err), err, want)
	}
}

// A packaged chart goes in as it came out.
func TestReadArchive(t *testing.T) {
	first, err := pack(t, base(), protocol.ChartImage{Value: "image"})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "chart.tgz"), first.Archive, 0o600); err != nil {
		t.Fatal(err)
	}
	spec := app(root, protocol.ChartImage{Value: "image"})
	spec.Chart.Path = "chart.tgz"
	second, err := Pack(t.Context(), spec, image())
	if err != nil || second.Digest() != first.Digest() {
		t.Errorf("digest %s, %v; want %s", second.Digest(), err, first.Digest())
	}
}

// A sparse file of 100 MiB costs nothing to make; it must cost nothing to refuse.
func TestPackRefusesLargeValues(t *testing.T) {
	for _, file := range []string{"values.yaml", "../target.yaml"} {
		root := t.TempDir()
		dir := write(t, filepath.Join(root, "chart"), base())
		large := filepath.Join(dir, file)
		if err := os.WriteFile(large, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(large, 100<<20); err != nil {
			t.Fatal(err)
		}
		spec := app(root, protocol.ChartImage{Value: "image"})
		spec.Targets = map[string]protocol.TargetValues{"staging": {ValuesFiles: []string{filepath.Base(file)}}}
		_, err := Pack(t.Context(), spec, image())
		refused(t, err, "has 104857600 bytes; Helm takes 5242880 at most")
	}
}

func TestPackRefusesOddVersions(t *testing.T) {
	for _, version := range []string{"../1.0.0", "1.0.0/..", "..", "", "1.0", `1.0.0\x`} {
		root := t.TempDir()
		write(t, filepath.Join(root, "chart"), base())
		spec := app(root, protocol.ChartImage{Value: "image"})
		spec.Version = version
		_, err := Pack(t.Context(), spec, image())
		refused(t, err, fmt.Sprintf("version %q of fleet-operator is invalid", version))
	}
}

// Nine names for nine of the one before would be a billion values.
func TestPackRefusesManyAliases(t *testing.T) {
	text := "a0: &a0 x\n"
	for i := range 9 {
		text += fmt.Sprintf("a%d: &a%[1]d [%s]\n", i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	files := base()
	files["values.yaml"] += text
	_, err := pack(t, files, protocol.ChartImage{Value: "image"})
	refused(t, err, "values.yaml: yaml: document contains excessive aliasing")
}

// FuzzUnpack looks that no archive makes a file outside of the chart.
func FuzzUnpack(f *testing.F) {
	for _, data := range []string{"", "x", "a/../../b"} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, archive := range [][]byte{data, []byte(tgz(t, entry("sub/"+strings.Map(printable, string(data))+"/x", "x")))} {
			files, err := unpack(archive, newBudget())
			if err != nil {
				continue
			}
			for name := range files {
				if !filepath.IsLocal(name) {
					t.Errorf("%q leads out", name)
				}
			}
		}
	})
}

// printable leaves out what a tar header cannot hold.
func printable(r rune) rune {
	if r == 0 || r == '\uFFFD' {
		return -1
	}
	return r
}
