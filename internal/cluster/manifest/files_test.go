package manifest

import (
	"slices"
	"strings"
	"testing"
)

func TestFiles(t *testing.T) {
	files, err := Files(map[string]string{
		"a/templates/z.yaml":    "kind: A\n---\nkind: B\n",
		"a/templates/b.yaml":    "kind: List\nitems: [{kind: C}]\n",
		"a/templates/NOTES.txt": "not: {yaml",
		"a/templates/none.yaml": "\n---\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		for _, o := range f.Objects {
			got = append(got, f.Name+" "+o.GetKind())
		}
	}
	if want := []string{"a/templates/b.yaml C", "a/templates/z.yaml A", "a/templates/z.yaml B"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := Files(map[string]string{"a/templates/x.yaml": "a: [\n"}); err == nil || !strings.Contains(err.Error(), "a/templates/x.yaml") {
		t.Errorf("got %v, want the template's name", err)
	}
}
