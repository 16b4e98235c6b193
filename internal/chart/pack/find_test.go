package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/nationtech/harmony/pkg/protocol"
)

// expected is the text before the chart in a file of testdata: lines of
//
//	named: {…}    the places in harmony.yaml, which are searched when it is absent
//	target: {…}   the values of a target
//	place: {…}    the places that are found, and value: PATH TEXT in values.yaml
//	image: NAME {…}    a further image with the places in harmony.yaml, {} for none
//	placed: NAME {…}   the places that are found for it
//	error: TEXT   what the error has, and hint: TEXT its hint
type expected struct {
	app                   protocol.AppSpec
	place                 string
	placed                map[string]string
	values, errors, hints []string
}

func readExpected(t *testing.T, text, root string) (want expected) {
	t.Helper()
	want.app = app(root, protocol.ChartImage{})
	want.app.Version = "1.4.0"
	want.app.Images, want.placed = map[string]protocol.AppImage{}, map[string]string{}
	for line := range strings.Lines(strings.ReplaceAll(text, "{root}", root)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		var err error
		switch key {
		case "named":
			want.app.Chart.Image, err = readPlaces(value)
		case "target":
			values := protocol.TargetValues{}
			err = yaml.Unmarshal([]byte(value), &values.Values)
			want.app.Targets = map[string]protocol.TargetValues{"staging": values}
		case "place":
			want.place = value
		case "image":
			name, places, _ := strings.Cut(value, " ")
			further := protocol.AppImage{}
			further.Chart, err = readPlaces(places)
			want.app.Images[name] = further
		case "placed":
			name, places, _ := strings.Cut(value, " ")
			want.placed[name] = places
		case "value":
			want.values = append(want.values, value)
		case "error":
			want.errors = append(want.errors, value)
		case "hint":
			want.hints = append(want.hints, value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return want
}

// readPlaces reads what harmony.yaml has for an image.
func readPlaces(text string) (places protocol.ImagePlaces, err error) {
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return nil, err
	}
	line, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return places, json.Unmarshal(line, &places)
}

// valueAt is a value of the packaged chart.
func valueAt(t *testing.T, archive []byte, path string) any {
	t.Helper()
	c, err := loader.LoadArchive(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	return lookup(c.Values, strings.Split(path, ".")...)
}

func TestImageFindsItsPlace(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no charts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			root := t.TempDir()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range archive.Files {
				write(t, filepath.Join(root, "chart"), map[string]string{f.Name: string(f.Data)})
			}
			want := readExpected(t, string(archive.Comment), root)
			checkPlace(t, want)
		})
	}
}

// images are the app's image and its further ones, each with a digest of its own.
func images(app protocol.AppSpec) protocol.ImageRef {
	ref := image()
	ref.Images = map[string]protocol.ImageRef{}
	for name := range app.Images {
		further := image()
		further.Repository += "-" + name
		further.Digest = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name)))
		ref.Images[name] = further
	}
	return ref
}

func checkPlace(t *testing.T, want expected) {
	t.Helper()
	release := images(want.app)
	packed, err := Pack(t.Context(), want.app, release)
	plan := image()
	plan.Digest, plan.Images = "", map[string]protocol.ImageRef{}
	for name, further := range release.Images {
		further.Digest = ""
		plan.Images[name] = further
	}
	planned, planErr := Pack(t.Context(), want.app, plan)
	if (err == nil) != (planErr == nil) {
		t.Errorf("a plan gives %v, a release %v", planErr, err)
	}
	if len(want.errors) > 0 {
		for _, text := range want.errors {
			refused(t, err, text)
		}
		for _, text := range want.hints {
			if !strings.Contains(protocol.HintOf(err), text) {
				t.Errorf("hint %q, want one with %q", protocol.HintOf(err), text)
			}
		}
		return
	}
	if err != nil {
		t.Fatalf("%v; %s", err, protocol.HintOf(err))
	}
	for name := range want.app.Images {
		if found := packed.Images[name]; found.String() != want.placed[name] || !slices.Equal(planned.Images[name], found) {
			t.Errorf("place of %s %s, planned %s; want %s", name, found, planned.Images[name], want.placed[name])
		}
	}
	if packed.Image.String() != want.place || !packed.Found || !slices.Equal(planned.Image, packed.Image) || planned.Archive != nil {
		t.Errorf("place %s, found %t, planned %s; want %s", packed.Image, packed.Found, planned.Image, want.place)
	}
	for _, value := range want.values {
		path, text, _ := strings.Cut(value, " ")
		if got := valueAt(t, packed.Archive, path); got != text {
			t.Errorf("%s is %q, want %q", path, got, text)
		}
	}
	named := want.app
	named.Chart.Image, named.Images = packed.Image, map[string]protocol.AppImage{}
	for name, places := range packed.Images {
		named.Images[name] = protocol.AppImage{Chart: places}
	}
	again, err := Pack(t.Context(), named, release)
	if err != nil || again.Digest() != packed.Digest() || again.Found {
		t.Errorf("with its place named, the chart is another one (%v), or was searched again", err)
	}
}

func TestNothingIsSearchedWhenThePlaceIsNamed(t *testing.T) {
	files := base()
	files["values.yaml"] += "other: {image: x}\n"
	files["templates/other.yaml"] = strings.NewReplacer("%NAME%", "other", ".Values.image", ".Values.other.image").Replace(pod)
	packed, err := pack(t, files, protocol.ChartImage{Value: "image"})
	if err != nil || packed.Found || packed.Image.String() != "{value: image}" {
		t.Errorf("%v, place %s, found %t", err, packed.Image, packed.Found)
	}
	if _, err := pack(t, files, protocol.ChartImage{}); err == nil {
		t.Error("two places work, and one of them was taken")
	}
}

// Whatever is in values.yaml, the places found in it are ones that harmony.yaml
// could name.
func FuzzCandidates(f *testing.F) {
	for _, values := range []string{"image: x\n", "a: {image: {registry: r, repository: x, tag: 1, digest: }}\n", "'a.b': {image: x}\nglobal: {image: [x]}\n", "- x\n", "a: &a {name: x, tag: y}\nb: *a\n"} {
		f.Add(values)
	}
	f.Fuzz(func(t *testing.T, values string) {
		p := packing{files: tree{"Chart.yaml": []byte(base()["Chart.yaml"]), "values.yaml": []byte(values)}, image: image(), variants: []variant{{}}}
		all, err := p.candidates()
		if err != nil {
			return
		}
		for _, c := range all {
			for _, way := range c.ways {
				spec := app("/", way)
				spec.Version, spec.Image.Dockerfile = "1.4.0", &protocol.Dockerfile{}
				if err := spec.Validate(); err != nil {
					t.Fatalf("%s: %v", way, err)
				}
				p.with(placed{image: p.image, places: way}) //nolint:errcheck // Helm reads values that cannot be edited, such as aliases
			}
		}
	})
}

func BenchmarkPlace(b *testing.B) {
	root := b.TempDir()
	archive, err := txtar.ParseFile("testdata/create.txtar")
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range archive.Files {
		file := filepath.Join(root, "chart", f.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for name, places := range map[string]protocol.ChartImage{"named": {Repository: "image.repository", Tag: "image.tag"}, "found": {}} {
		spec := app(root, places)
		spec.Version = "1.4.0"
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Pack(b.Context(), spec, image()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
