package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// document is one YAML document of a harmony.yaml.
type document struct {
	lines map[string]int // where each field is written
	spec  protocol.Spec  // a pointer to its type; nil for another kind
	found []problem      // what reading it found
}

// line is where the field is written, or the nearest value around it.
func (d document) line(field string) int {
	return d.lines[d.present(field)]
}

// present is the field, or the nearest value around it that is in the file.
func (d document) present(field string) string {
	for field != "" {
		if _, ok := d.lines[field]; ok {
			break
		}
		field = parentOf(field)
	}
	return field
}

// parse reads all documents of a file and notes every problem.
func parse(data []byte, p *problems) []document {
	var documents []document
	for _, root := range parseRoots(data, p) {
		documents = append(documents, readDocument(root, p))
	}
	return documents
}

// parseRoots reads the YAML of all documents that are not empty, up to a syntax error.
func parseRoots(data []byte, p *problems) []*yaml.Node {
	var roots []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			return roots
		}
		if err != nil {
			addSyntax(p, err)
			return roots
		}
		if len(root.Content) == 1 && !isNull(root.Content[0]) {
			roots = append(roots, root.Content[0])
		}
	}
}

func addSyntax(p *problems, err error) {
	syntaxPattern := regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)`)
	// Errors of the library's parser count lines from 0, those of its scanner from 1.
	grammarPattern := regexp.MustCompile(`^did not find expected (<|node content|'-' indicator|key$|',' or )`)
	match := syntaxPattern.FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(match[1]) // "" is 0: the whole file
	if grammarPattern.MatchString(match[2]) {
		line++
	}
	p.add(line, "", "not YAML: %s", match[2])
}

// envelope is a document as it is written in the file.
type envelope[S any] struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   protocol.Metadata `json:"metadata"`
	Spec       S                 `json:"spec"`
}

// kinds are those of a harmony.yaml.
var kinds = []string{string(protocol.KindAppSpec), string(protocol.KindTopology), string(protocol.KindPipeline)}

func readDocument(root *yaml.Node, p *problems) document {
	switch kind := kindOf(root); kind {
	case string(protocol.KindAppSpec):
		return readSpec[protocol.AppSpec](root, p)
	case string(protocol.KindTopology):
		return readSpec[protocol.Topology](root, p)
	case string(protocol.KindPipeline):
		return readSpec[protocol.Pipeline](root, p)
	default:
		e, d := readEnvelope[any](root, p)
		d.checkVersion(p, e.APIVersion)
		if !d.noted()[d.present("kind")] {
			p.add(d.line("kind"), "kind", "%s", otherKind(kind, kinds))
		}
		return d
	}
}

// otherKind is the problem of a kind that is not among the known ones.
func otherKind(kind string, known []string) string {
	if kind == "" {
		return "is required: " + strings.Join(known, " or ")
	}
	return strconv.Quote(kind) + " is not a kind of this file: " + nearest.Hint(kind, known, "want "+strings.Join(known, " or "))
}

// kindOf is a document's kind, or "".
func kindOf(root *yaml.Node) string {
	if root.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "kind" && root.Content[i+1].Kind == yaml.ScalarNode {
			return root.Content[i+1].Value
		}
	}
	return ""
}

// readEnvelope reads a document against the type of its spec.
func readEnvelope[S any](root *yaml.Node, p *problems) (envelope[S], document) {
	var e envelope[S]
	r := newReader(p)
	before := len(p.found)
	value := r.read(root, reflect.TypeFor[envelope[S]](), &place{}, root.Line)
	body, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		p.add(root.Line, "", "%v", err)
	}
	return e, document{lines: r.lines, found: p.found[before:]}
}

func (d document) checkVersion(p *problems, version string) {
	switch {
	case version == protocol.APIVersion || d.noted()[d.present("apiVersion")]:
	case version == "":
		p.add(d.line(""), "apiVersion", "is required: %s", protocol.APIVersion)
	default:
		p.add(d.line("apiVersion"), "apiVersion", "%q is unknown, want %s", version, protocol.APIVersion)
	}
}

// validate notes the problems of the document's own validation, except those that only
// follow from problems already noted.
func (d document) validate(p *problems, version string, err error) {
	noted := d.noted()
	d.checkVersion(p, version)
	var found protocol.FieldErrors
	errors.As(err, &found)
	for _, f := range found {
		if !noted[d.present(f.Field)] {
			p.add(d.line(f.Field), f.Field, "%s", f.Problem)
		}
	}
}

// noted are the fields that could not be read, and their parents: with buidable, the
// missing buildable is not a second problem.
func (d document) noted() map[string]bool {
	noted := map[string]bool{}
	for _, f := range d.found {
		noted[f.field] = true
		noted[parentOf(f.field)] = true
	}
	return noted
}

// Validated is a typed document that lists all its problems as protocol.FieldErrors.
type Validated interface {
	protocol.Spec
	Validate() error
}

// ParseOne reads a file with one document of one kind, as strictly as a harmony.yaml.
// name is the file's name for messages. The error lists every problem, one a line with
// its line number, and is of status protocol.ExitInvalid.
func ParseOne[S Validated](name string, data []byte) (S, error) {
	var spec S
	kind := string(spec.DocumentKind())
	found := &problems{file: name}
	roots := parseRoots(data, found)
	switch {
	case len(found.found) > 0:
	case len(roots) != 1:
		found.add(0, "", "contains %d documents, want one of kind %s", len(roots), kind)
	case kindOf(roots[0]) != kind:
		found.add(roots[0].Line, "kind", "%s", otherKind(kindOf(roots[0]), []string{kind}))
	default:
		spec = *any(readSpec[S](roots[0], found).spec).(*S)
	}
	if len(found.found) > 0 {
		return spec, protocol.Invalid("%w", found)
	}
	return spec, nil
}

// readSpec reads a document into its type, which embeds its metadata, and validates it.
func readSpec[S Validated](root *yaml.Node, p *problems) document {
	e, d := readEnvelope[S](root, p)
	reflect.ValueOf(&e.Spec).Elem().FieldByName("Metadata").Set(reflect.ValueOf(e.Metadata))
	d.validate(p, e.APIVersion, e.Spec.Validate())
	d.spec = any(&e.Spec).(protocol.Spec)
	return d
}

// Encode writes a document as YAML, its fields in the order of their type.
func Encode(s protocol.Spec) ([]byte, error) {
	d, err := protocol.Encode(s)
	if err != nil {
		return nil, err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(d.Bytes(), &node); err != nil { // JSON is YAML
		return nil, err
	}
	block(&node)
	if s.Identity() == (protocol.Metadata{}) { // apiVersion, kind, metadata: two nodes each
		node.Content[0].Content = slices.Delete(node.Content[0].Content, 4, 6)
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return nil, err
	}
	return text.Bytes(), encoder.Close()
}

// block turns JSON's style into that of YAML.
func block(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		block(child)
	}
	if len(n.Content) == 0 && n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	}
}
