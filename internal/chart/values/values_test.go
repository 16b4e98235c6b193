package values

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestOf(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("charts/app/first.yaml", "a: 1\nnested: {x: 1, w: 2, list: [1]}\n")
	write("first.yaml", "a: not this one\n")
	write("second.yaml", "nested: {w: null, list: [2]}\nscalar: {deep: 1}\n")
	app := protocol.AppSpec{
		ProjectRoot: root, Chart: protocol.ChartSource{Path: "charts/app"},
		Targets: map[string]protocol.TargetValues{"t": {ValuesFiles: []string{"first.yaml", "second.yaml"}}},
	}
	values := map[string]any{}
	if err := json.Unmarshal([]byte(`{"big": 1000000, "half": 0.5, "scalar": 7, "nested": {"z": [{"n": 3}]}}`), &values); err != nil {
		t.Fatal(err)
	}
	app.Targets["t"] = protocol.TargetValues{ValuesFiles: app.Targets["t"].ValuesFiles, Values: values}

	set, err := Of(t.Context(), app, "t")
	if err != nil {
		t.Fatal(err)
	}
	got := set.All
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":1,"big":1000000,"half":0.5,"nested":{"list":[2],"w":null,"x":1,"z":[{"n":3}]},"scalar":7}`
	if string(text) != want {
		t.Errorf("values %s, want %s", text, want)
	}
	if _, isInt := got["big"].(int64); !isInt {
		t.Errorf("big is a %T: a template would print it as 1e+06", got["big"])
	}

	if got, err := Of(t.Context(), app, "other"); err != nil || len(got.All) != 0 || got.IsSecret() {
		t.Errorf("a target without values: %v, %v", got, err)
	}
}

func TestValuesFilesThatCannotBeRead(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "bad.yaml"), []byte("a: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret.yaml")
	if err := errors.Join(os.WriteFile(secret, []byte("password: x\n"), 0o600), os.Symlink(secret, filepath.Join(root, "link.yaml")),
		os.Symlink(filepath.Dir(secret), filepath.Join(root, "folder"))); err != nil {
		t.Fatal(err)
	}
	for file, word := range map[string]string{"link.yaml": "escapes", "folder/secret.yaml": "escapes", "absent.yaml": "neither", "../up.yaml": "leads out", "bad.yaml": "bad.yaml"} {
		app := protocol.AppSpec{ProjectRoot: root, Targets: map[string]protocol.TargetValues{"t": {ValuesFiles: []string{file}}}}
		_, err := Of(t.Context(), app, "t")
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: error %v, want invalid input that says %q", file, err, word)
		}
	}
}

func TestDigest(t *testing.T) {
	digest := func(v map[string]any) string {
		t.Helper()
		d, err := Digest(v)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	same := []map[string]any{
		{"a": int64(1), "b": map[string]any{"c": nil}},
		{"b": map[string]any{"c": nil}, "a": float64(1)},
		{"a": json.Number("1.0"), "b": map[string]any{"c": nil}},
	}
	for _, v := range same[1:] {
		if digest(v) != digest(same[0]) {
			t.Errorf("%v and %v have different digests", v, same[0])
		}
	}
	if digest(map[string]any{"a": "1"}) == digest(map[string]any{"a": 1}) {
		t.Error("a text and a number have the same digest")
	}
}

func TestMergeLeavesItsInputAlone(t *testing.T) {
	base := map[string]any{"a": map[string]any{"b": 1}}
	merge(base, map[string]any{"a": map[string]any{"b": 2, "c": 3}})
	if want := (map[string]any{"a": map[string]any{"b": 1}}); !reflect.DeepEqual(base, want) {
		t.Errorf("base became %v", base)
	}
}
