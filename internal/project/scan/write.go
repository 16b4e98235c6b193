package scan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// maxNotes is how many remarks of one kind are written.
	maxNotes = 40
	// maxLine is how long a line may be before a mapping gets lines of its own.
	maxLine = 140
)

// Write is the text of a harmony.yaml with the apps, and with comments on what was found
// and what was not understood.
func (f *Found) Write(apps []App) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("# Written by 'harmony init', which found:\n")
	comments(&out, f.Notes)
	if len(f.Unclear) > 0 {
		out.WriteString("#\n# It did not understand:\n")
		comments(&out, f.Unclear)
	}
	for i, app := range apps {
		if i > 0 {
			out.WriteString("---\n")
		} else {
			out.WriteString("\n")
		}
		if err := app.write(&out); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func comments(out *bytes.Buffer, notes []Note) {
	for i, note := range notes {
		if i == maxNotes {
			fmt.Fprintf(out, "#   and %d more\n", len(notes)-maxNotes)
			break
		}
		fmt.Fprintf(out, "#   %s\n", comment(note.String()))
	}
}

// comment makes one line of a text from a repository.
func comment(s string) string { return term.Excerpt(term.OneLine(s), 300) }

func (a App) write(out *bytes.Buffer) error {
	for _, note := range a.Notes {
		fmt.Fprintf(out, "# %s\n", comment(note))
	}
	fmt.Fprintf(out, "apiVersion: %s\nkind: %s\nmetadata: {name: %s}\nspec:\n", protocol.APIVersion, protocol.KindAppSpec, a.Spec.Name)
	for _, field := range []struct {
		name  string
		value any
		empty bool
	}{
		{"image", a.Spec.Image, a.Spec.Image.IsNone()},
		{"images", a.Spec.Images, len(a.Spec.Images) == 0},
		{"chart", a.Spec.Chart, false},
		{"targets", a.Spec.Targets, len(a.Spec.Targets) == 0},
		{"smoke", a.Spec.Smoke, len(a.Spec.Smoke) == 0},
		{"dependsOn", a.Spec.DependsOn, len(a.Spec.DependsOn) == 0},
	} {
		if field.empty {
			continue
		}
		if err := writeField(out, "  ", field.name, field.value); err != nil {
			return err
		}
	}
	return nil
}

// writeField writes a field on one line or, where that is too long, its own fields on
// lines of their own.
func writeField(out *bytes.Buffer, indent, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var node yaml.Node // JSON is YAML, and its fields stay in order
	if err := yaml.Unmarshal(data, &node); err != nil {
		return err
	}
	return writeNode(out, indent, name, node.Content[0])
}

func writeNode(out *bytes.Buffer, indent, name string, n *yaml.Node) error {
	flow(n)
	line, err := yaml.Marshal(n)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(line))
	if n.Kind != yaml.MappingNode || len(indent)+len(name)+len(text)+2 <= maxLine {
		fmt.Fprintf(out, "%s%s: %s\n", indent, name, text)
		return nil
	}
	fmt.Fprintf(out, "%s%s:\n", indent, name)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := yaml.Marshal(n.Content[i])
		if err != nil {
			return err
		}
		if err := writeNode(out, indent+"  ", strings.TrimSpace(string(key)), n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// flow lets a value be written on one line, with quotes only where YAML needs them.
func flow(n *yaml.Node) {
	n.Style = 0
	if n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	}
	for _, child := range n.Content {
		flow(child)
	}
}
