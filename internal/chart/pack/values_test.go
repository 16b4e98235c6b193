package pack

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestEditKeepsTheRest(t *testing.T) {
	tests := []struct{ name, in, path, want string }{
		{"replaces", "# head\nimage: old # here\nother: 1\n", "image", "# head\nimage: \"new\" # here\nother: 1\n"},
		{"appends", "b: 1\na: yes\n", "image", "b: 1\na: yes\nimage: \"new\"\n"},
		{"makes parents", "a: 1\n", "x.k.z", "a: 1\nx:\n  k:\n    z: \"new\"\n"},
		{"fills null", "image:\n# foot\nb: 1\n", "image.ref", "image:\n  ref: \"new\"\n# foot\nb: 1\n"},
		{"empty file", "", "a.b", "a:\n  b: \"new\"\n"},
		{"only comments", "# nothing yet\n", "a", "# nothing yet\na: \"new\"\n"},
		{"only an empty map", "{}\n", "a", "a: \"new\"\n"},
		{"only a marker", "---\n", "a", "a: \"new\"\n"},
		{"flow map", "image: {a: 1}\n", "image.b", "image:\n  a: 1\n  b: \"new\"\n"},
		{"block text", "image: |\n  a\n  b\nc: 1\n", "image", "image: \"new\"\nc: 1\n"},
		{"keeps other spellings", "a: 0o17\nb: on\nc: \"1\"\nd: 1e3\n", "image", "a: 0o17\nb: on\nc: \"1\"\nd: 1e3\nimage: \"new\"\n"},
		{"a key that YAML 1.1 reads as true", "y: 1\n", "y.on", "y: 1\n\"y\":\n  \"on\": \"new\"\n"},
		{"a quoted key", "\"y\": 1\n", "y", "\"y\": \"new\"\n"},
		{"alias as the value", "x: &x 1\nimage: *x\n", "image", "x: &x 1\nimage: \"new\"\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := edit([]byte(test.in), []setting{{test.path, "new"}})
			if err != nil || string(got) != test.want {
				t.Errorf("got %v:\n%s\nwant:\n%s", err, got, test.want)
			}
		})
	}
}

// FuzzEdit looks that an edited file holds the value, as Helm reads it, and
// that every other key of the root is as it was.
func FuzzEdit(f *testing.F) {
	for _, seed := range []string{"", "# c\n", "image: old\n", "image: {a: 1}\n", "a: &x {b: 1}\nc: *x\n", "- 1\n", "a: |\n  x\n", "image:\n  a:\n    b: [1, 2]\n", "<<: {a: 1}\nb: on\n", "---\na: 1\n...\n", "? a\n: b\n", "!!map {a: 1}", "null", "~ # c"} {
		f.Add([]byte(seed), "image.ref")
	}
	f.Fuzz(func(t *testing.T, in []byte, path string) {
		if path == "" || strings.ContainsFunc(path, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz.-_", r) }) || strings.Contains("."+path+".", "..") {
			t.Skip()
		}
		var before map[string]any
		if yaml.Unmarshal(in, &before) != nil {
			t.Skip() // Helm would not have read it before the edit either
		}
		out, err := edit(in, []setting{{path, "sha256:00"}})
		if err != nil {
			return
		}
		var after map[string]any
		if err := yaml.Unmarshal(out, &after); err != nil {
			t.Fatalf("%v in\n%s\nof\n%s", err, out, in)
		}
		keys := strings.Split(path, ".")
		var v any = after
		for _, key := range keys {
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("no %s in\n%s", path, out)
			}
			v = m[key]
		}
		if v != "sha256:00" {
			t.Errorf("%s is %v in\n%s", path, v, out)
		}
		for key := range before {
			if _, ok := after[key]; !ok {
				t.Errorf("key %q is lost in\n%s\nof\n%s", key, out, in)
			}
		}
	})
}
