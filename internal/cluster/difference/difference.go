// Package difference shows what would change on a cluster, object by object, as
// unified diffs. It never shows what a Secret holds.
package difference

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"

	"github.com/pmezard/go-difflib/difflib"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Object is one object before and after a deploy.
type Object struct {
	Kind, Namespace, Name string
	// Cluster is the one of several that it is on, or "".
	Cluster string
	// Before is nil for an object that would be made, After for one that would
	// be deleted.
	Before, After *unstructured.Unstructured
	// Mask takes out of a text what is secret wherever it stands; nil when nothing is.
	Mask func(string) string
}

// String is Kind namespace/name, and where there are several the cluster.
func (o Object) String() string {
	name := o.Kind + " " + o.Name
	if o.Namespace != "" {
		name = o.Kind + " " + o.Namespace + "/" + o.Name
	}
	if o.Cluster != "" {
		name += " on " + o.Cluster
	}
	return name
}

// Changed reports an object that would not be the same. The status, and what the
// API server writes into the metadata, does not count.
func (o Object) Changed() bool {
	if o.Before == nil || o.After == nil {
		return o.Before != o.After
	}
	return !equality.Semantic.DeepEqual(Essence(o.Before), Essence(o.After))
}

// context is how many unchanged lines are shown around a changed one.
const context = 3

// Write writes the objects that would change, and reports how many they are.
func Write(w io.Writer, objects []Object, colour bool) (int, error) {
	changed := 0
	for _, o := range objects {
		if !o.Changed() {
			continue
		}
		changed++
		text, err := o.unified()
		if err != nil {
			return changed, fmt.Errorf("%s: %w", o, err)
		}
		if colour {
			text = paint(text)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

func (o Object) unified() (string, error) {
	before, after := o.masked()
	from, err := text(before)
	if err != nil {
		return "", err
	}
	to, err := text(after)
	if err != nil {
		return "", err
	}
	diff := difflib.UnifiedDiff{A: lines(from), B: lines(to), FromFile: o.String() + " (cluster)", ToFile: o.String() + " (deploy)", Context: context}
	if before == nil {
		diff.FromFile = "/dev/null"
	}
	if after == nil {
		diff.ToFile = "/dev/null"
	}
	made, err := difflib.GetUnifiedDiffString(diff)
	if o.Mask != nil {
		made = o.Mask(made)
	}
	return made, err
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	split := strings.SplitAfter(text, "\n") // the last line ends with one too
	return split[:len(split)-1]
}

// text is the object as YAML, without control characters, which could drive a
// terminal.
func text(object map[string]any) (string, error) {
	if object == nil {
		return "", nil
	}
	data, err := yaml.Marshal(object)
	if err != nil {
		return "", err
	}
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return -1
		}
		return r
	}, string(data)), nil
}

// Essence is an object without the fields that the API server writes.
func Essence(object *unstructured.Unstructured) map[string]any {
	if object == nil {
		return nil
	}
	o := object.DeepCopy()
	delete(o.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	return o.Object
}

var changedLine = regexp.MustCompile(`(?m)^(---|\+\+\+|-|\+|@@).*$`)

func paint(text string) string {
	codes := map[string]string{"---": "1", "+++": "1", "-": "31", "+": "32", "@@": "36"}
	return changedLine.ReplaceAllStringFunc(text, func(line string) string {
		return "\x1b[" + codes[changedLine.FindStringSubmatch(line)[1]] + "m" + line + "\x1b[0m"
	})
}
