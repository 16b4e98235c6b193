package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// document is one YAML document of a harmony.yaml.
type document struct {
	name     string             // metadata.name
	lines    map[string]int     // where each field is written
	app      *protocol.AppSpec  // one of app,
	topology *protocol.Topology // topology and
	pipeline *protocol.Pipeline // pipeline; none for another kind
	found    []problem          // what reading it found
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

// parseRoots reads the YAML of all documents that are not empty. A syntax error
// ends it: what follows cannot be trusted.
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
	// The complaints of the library's parser, whose lines count from 0; those of
	// its scanner count from 1.
	grammarPattern := regexp.MustCompile(`^did not find expected (<|node content|'-' indicator|key$|',' or )`)
	match := syntaxPattern.FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(match[1]) // "" is 0: the whole file
	if grammarPattern.MatchString(match[2]) {
		line++
	}
	p.add(line, "", "not YAML: %s", match[2])
}

// envelope is a document as it stands in the file.
type envelope[S any] struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   protocol.Metadata `json:"metadata"`
	Spec       S                 `json:"spec"`
}

// kinds are those that a harmony.yaml holds.
var kinds = []string{string(protocol.KindAppSpec), string(protocol.KindTopology), string(protocol.KindPipeline)}

func readDocument(root *yaml.Node, p *problems) document {
	switch kind := kindOf(root); kind {
	case string(protocol.KindAppSpec):
		e, d := readEnvelope[protocol.AppSpec](root, p)
		e.Spec.Metadata = e.Metadata
		d.app = &e.Spec
		d.validate(p, e.APIVersion, e.Spec.Validate())
		return d
	case string(protocol.KindTopology):
		e, d := readEnvelope[protocol.Topology](root, p)
		e.Spec.Metadata = e.Metadata
		d.topology = &e.Spec
		d.validate(p, e.APIVersion, e.Spec.Validate())
		return d
	case string(protocol.KindPipeline):
		e, d := readEnvelope[protocol.Pipeline](root, p)
		e.Spec.Metadata = e.Metadata
		d.pipeline = &e.Spec
		d.validate(p, e.APIVersion, e.Spec.Validate())
		return d
	default:
		e, d := readEnvelope[any](root, p)
		d.checkVersion(p, e.APIVersion)
		if !d.noted()[d.present("kind")] {
			p.add(d.line("kind"), "kind", "%s", kindProblem(kind))
		}
		return d
	}
}

func kindProblem(kind string) string { return otherKind(kind, kinds) }

// otherKind says that kind is none of known.
func otherKind(kind string, known []string) string {
	if kind == "" {
		return "is required: " + strings.Join(known, " or ")
	}
	if name := nearest.Name(kind, known); name != "" {
		return strconv.Quote(kind) + " is no kind of this file, did you mean " + name + "?"
	}
	if len(known) == 1 {
		return strconv.Quote(kind) + " is no kind of this file, which is " + known[0]
	}
	return strconv.Quote(kind) + " is no kind of this file, which are " + strings.Join(known, " and ")
}

// kindOf peeks at a document's kind; "" when there is none.
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
	return e, document{name: e.Metadata.Name, lines: r.lines, found: p.found[before:]}
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

// validate notes what the document's own validation found, but for that which
// only follows from a problem already noted.
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

// noted are the fields that could not be read, and those that directly hold
// one: buidable makes the absence of buildable no second problem.
func (d document) noted() map[string]bool {
	noted := map[string]bool{}
	for _, f := range d.found {
		noted[f.field] = true
		noted[parentOf(f.field)] = true
	}
	return noted
}

// Validated is a typed document that tells every problem of its own, as
// protocol.FieldErrors.
type Validated interface {
	protocol.Spec
	Validate() error
}

// ParseOne reads a file that holds one document of one kind, as strictly as a
// harmony.yaml. name is the file's name for messages. The error lists every
// problem, one a line with its line number, and is of status
// protocol.ExitInvalid.
func ParseOne[S Validated, P protocol.Decodable[S]](name string, data []byte) (S, error) {
	found := &problems{file: name}
	spec, err := parseOne[S, P](data, found)
	if err != nil && len(found.found) == 0 {
		found.add(0, "", "%v", err)
	}
	if len(found.found) > 0 {
		return spec, protocol.Invalid("%w", found)
	}
	return spec, nil
}

func parseOne[S Validated, P protocol.Decodable[S]](data []byte, found *problems) (S, error) {
	var spec S
	kind := spec.DocumentKind()
	roots := parseRoots(data, found)
	if len(found.found) > 0 {
		return spec, nil
	}
	if len(roots) != 1 {
		return spec, fmt.Errorf("holds %d documents, want one of kind %s", len(roots), kind)
	}
	if have := kindOf(roots[0]); have != string(kind) {
		found.add(roots[0].Line, "kind", "%s", otherKind(have, []string{string(kind)}))
		return spec, nil
	}
	e, d := readEnvelope[S](roots[0], found)
	whole, err := protocol.NewDocument(kind, e.Metadata, e.Spec)
	if err != nil {
		return spec, err
	}
	if spec, err = protocol.Decode[S, P](whole); err != nil {
		return spec, err
	}
	d.validate(found, e.APIVersion, spec.Validate())
	return spec, nil
}
