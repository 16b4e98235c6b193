package pack

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/nationtech/harmony/internal/chart"
	"github.com/nationtech/harmony/pkg/protocol"
)

const digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func image() protocol.ImageRef {
	return protocol.ImageRef{Registry: "localhost:5001", Repository: "fleet/operator", Tag: "1.4.0", Digest: digest}
}

// base is a chart that Helm takes; a test changes it.
func base() map[string]string {
	return map[string]string{
		"Chart.yaml":                "# the operator\napiVersion: v2\nname: operator\nversion: 0.0.0 # replaced\ndescription: registers devices\n",
		"values.yaml":               "# what to run\nimage: none\nreplicas: 1\n",
		"templates/deployment.yaml": "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels: {{- include \"labels\" . | nindent 4 }}\nspec:\n  containers:\n    - {name: x, image: {{ .Values.image | quote }}}\n",
		"templates/_labels.tpl":     "{{ define \"labels\" }}app: x{{ end }}",
	}
}

func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func app(dir string, places ...protocol.ChartImage) protocol.AppSpec {
	places = slices.DeleteFunc(places, func(c protocol.ChartImage) bool { return c == protocol.ChartImage{} })
	return protocol.AppSpec{
		Metadata:    protocol.Metadata{Name: "fleet-operator", Version: "1.4.0+build.7"},
		ProjectRoot: dir,
		Chart:       protocol.ChartSource{Path: "chart", Image: places},
	}
}

func pack(t *testing.T, files map[string]string, places protocol.ChartImage) (chart.Chart, error) {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "chart"), files)
	return Pack(t.Context(), app(root, places), image())
}

func TestPackIsReadByHelm(t *testing.T) {
	files := base()
	files[".helmignore"] = "*.bak\nnotes/\n"
	files["old.bak"] = "x"
	files["notes/a.txt"] = "x"
	files["charts/redis/Chart.yaml"] = "apiVersion: v2\nname: redis\nversion: 1.0.0\n"
	files["Chart.yaml"] += "dependencies: [{name: redis, version: 1.0.0}]\n"
	p, err := pack(t, files, protocol.ChartImage{Repository: "image.repo.name", Digest: "image.digest", Tag: "tag"})
	if err == nil || !strings.Contains(err.Error(), `values.yaml: line 2: image is a single value, so it cannot hold image.repo.name`) {
		t.Fatalf("got %v", err)
	}
	files["templates/deployment.yaml"] = strings.Replace(files["templates/deployment.yaml"], ".Values.image |", `printf "%s:%s@%s" .Values.image.repo.name .Values.tag .Values.image.digest |`, 1)
	files["values.yaml"] = "# what to run\nimage:\n  # kept\n  repo: {}\nreplicas: 1\n"
	if p, err = pack(t, files, protocol.ChartImage{Repository: "image.repo.name", Digest: "image.digest", Tag: "tag"}); err != nil {
		t.Fatal(err)
	}
	c, err := loader.LoadArchive(bytes.NewReader(p.Archive))
	if err != nil {
		t.Fatal(err)
	}
	if c.Metadata.Version != "1.4.0+build.7" || c.Metadata.AppVersion != "1.4.0+build.7" || c.Name() != "operator" {
		t.Errorf("metadata is %+v", c.Metadata)
	}
	want := map[string]any{"name": "localhost:5001/fleet/operator"}
	got := c.Values["image"].(map[string]any)
	if got["digest"] != digest || got["repo"].(map[string]any)["name"] != want["name"] || c.Values["tag"] != "1.4.0" {
		t.Errorf("values are %v", c.Values)
	}
	if len(c.Dependencies()) != 1 {
		t.Errorf("the vendored chart is missing")
	}
	for _, f := range c.Raw {
		if strings.HasSuffix(f.Name, ".bak") || strings.HasPrefix(f.Name, "notes/") {
			t.Errorf("%s should have been ignored", f.Name)
		}
		if f.Name == "values.yaml" && !strings.Contains(string(f.Data), "# what to run") {
			t.Errorf("the comments are gone:\n%s", f.Data)
		}
	}
}

// The same chart has the same digest with other times, modes, links and in
// another place. The digest is written down: it must not change with the
// machine, nor with the version of Go.
func TestPackIsReproducible(t *testing.T) {
	first, err := pack(t, base(), protocol.ChartImage{Value: "image"})
	if err != nil {
		t.Fatal(err)
	}
	const known = "sha256:065c3c52ad221c69475ed779e146faa7671271456ef3a04e7ef37ce7576006c1"
	if first.Digest() != known {
		t.Errorf("digest is %s, was %s when this test was written", first.Digest(), known)
	}
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	root := t.TempDir()
	dir := write(t, filepath.Join(root, "chart"), base())
	if err := os.Chtimes(filepath.Join(dir, "values.yaml"), time.Time{}, time.Unix(1_000_000_000, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "Chart.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "templates/_labels.tpl"), filepath.Join(dir, "templates/.labels")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(".labels", filepath.Join(dir, "templates/_labels.tpl")); err != nil {
		t.Fatal(err)
	}
	second, err := Pack(t.Context(), app(root, protocol.ChartImage{Value: "image"}), image())
	if err != nil {
		t.Fatal(err)
	}
	if first.Digest() != second.Digest() {
		t.Errorf("digests differ: %s and %s", first.Digest(), second.Digest())
	}
}

func TestPackRefuses(t *testing.T) {
	big := strings.Repeat("x", 5<<20+1)
	tests := []struct {
		name, file, text, want string
	}{
		{"no Chart.yaml", "Chart.yaml", "", "Chart.yaml is missing"},
		{"name with a slash", "Chart.yaml", "apiVersion: v2\nname: a/b\nversion: 0.0.0\n", `Chart.yaml: line 2: name "a/b" is invalid`},
		{"name that climbs", "Chart.yaml", "apiVersion: v2\nname: ..\nversion: 0.0.0\n", `Chart.yaml: line 2: name ".." is invalid`},
		{"no name", "Chart.yaml", "apiVersion: v2\nversion: 0.0.0\n", "name is required"},
		{"duplicate key in Chart.yaml", "Chart.yaml", "name: a\nname: b\n", `Chart.yaml: yaml: unmarshal errors:` + "\n" + `  line 2: mapping key "name" already defined at line 1`},
		{"duplicate key in values", "values.yaml", "a:\n  b: 1\n  b: 2\n", `line 3: mapping key "b" already defined at line 2`},
		{"values are a list", "values.yaml", "\n- a\n", "line 2: is not a map"},
		{"values are two documents", "values.yaml", "a: 1\n---\nb: 1\n", "more than one YAML document"},
		{"image is a map", "values.yaml", "image:\n  tag: x\n", "line 2: image is a map, not one value"},
		{"values are not UTF-8", "values.yaml", "\xfe\xff", "values.yaml: is not UTF-8"},
		{"values are no YAML", "values.yaml", "a: [\n", "values.yaml: yaml:"},
		{"template does not parse", "templates/deployment.yaml", "a\n{{ if }}\n", "template: templates/deployment.yaml:2: missing value for if"},
		{"schema is no JSON", "values.schema.json", "{", "values.schema.json: line 1: is not JSON"},
		{"missing dependency", "Chart.yaml", base()["Chart.yaml"] + "dependencies: [{name: redis, version: 1.x.x}]\n", "dependency redis 1.x.x of Chart.yaml is missing in charts/"},
		{"file too large", "files/big", big, "Helm takes 5242880 at most"},
		{"control character", "files/a\x1b[31m", "x", `has no '\x1b'`},
		{"backslash", `files/a\b`, "x", `has no '\\'`},
		{"broken vendored archive", "charts/a.tgz", "x", "charts/a.tgz: unexpected EOF"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := base()
			files[test.file] = test.text
			if test.text == "" {
				delete(files, test.file)
			}
			_, err := pack(t, files, protocol.ChartImage{Value: "image"})
			if err == nil || !strings.Contains(err.Error(), test.want) || protocol.ExitCode(err) != protocol.ExitInvalid {
				t.Errorf("got status %d, %v; want %q", protocol.ExitCode(err), err, test.want)
			}
		})
	}
}

func TestPackRefusesWhatIsNoFileOfTheChart(t *testing.T) {
	tests := []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"link out", func(dir string) error { return os.Symlink("/etc/hostname", filepath.Join(dir, "a")) }, `"a": statat a: path escapes`},
		{"relative link out", func(dir string) error { return os.Symlink("../../chart/../x", filepath.Join(dir, "a")) }, "path escapes"},
		{"folder link out", func(dir string) error { return os.Symlink("/etc", filepath.Join(dir, "charts")) }, "path escapes"},
		{"dead link", func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "a")) }, "no such file"},
		{"loop of folders", func(dir string) error {
			return errors.Join(os.Symlink(".", filepath.Join(dir, "a")), os.Symlink(".", filepath.Join(dir, "b")))
		}, "too many"},
		{"pipe", func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "a"), 0o600) }, "neither a file nor a folder"},
		{"no folder", os.RemoveAll, "chart folder: "},
		{"values is a folder", func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "values.yaml")), os.Mkdir(filepath.Join(dir, "values.yaml"), 0o755),
				os.WriteFile(filepath.Join(dir, "values.yaml/Chart.yaml"), nil, 0o600))
		}, "values.yaml is a folder"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			dir := write(t, filepath.Join(root, "chart"), base())
			if err := test.make(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Pack(t.Context(), app(root, protocol.ChartImage{Value: "image"}), image())
			if err == nil || !strings.Contains(err.Error(), test.want) || protocol.ExitCode(err) != protocol.ExitInvalid {
				t.Errorf("got status %d, %v; want %q", protocol.ExitCode(err), err, test.want)
			}
		})
	}
}

func BenchmarkPack(b *testing.B) {
	root := b.TempDir()
	for name, text := range base() {
		file := filepath.Join(root, "chart", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := Pack(b.Context(), app(root, protocol.ChartImage{Value: "image"}), image()); err != nil {
			b.Fatal(err)
		}
	}
}
