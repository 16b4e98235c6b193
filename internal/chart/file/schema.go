package file

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"helm.sh/helm/v3/pkg/chart"
)

const schemaFile = "values.schema.json"

type schemas map[*chart.Chart]*jsonschema.Schema

// CheckSchemas compiles the schemas of a chart and of the charts in it. A
// schema that refers to another document is refused, and that is never opened:
// Helm would read any file or URL that a chart names.
func CheckSchemas(c *chart.Chart) error { return schemas{}.compile(c) }

func (s schemas) compile(c *chart.Chart) error {
	if c.Schema != nil {
		compiled, err := compileSchema(c.Schema)
		if err != nil {
			return fmt.Errorf("%s: %w", PathIn(c, schemaFile), err)
		}
		s[c] = compiled
	}
	for _, d := range c.Dependencies() {
		if err := s.compile(d); err != nil {
			return err
		}
	}
	return nil
}

// PathIn is the path of a chart's file from the outermost chart.
func PathIn(c *chart.Chart, name string) string {
	_, inside, found := strings.Cut(c.ChartFullPath(), "/")
	if !found {
		return name
	}
	return inside + "/" + name
}

// closed is a loader that opens nothing.
type closed struct{}

func (closed) Load(url string) (any, error) {
	return nil, fmt.Errorf("$ref to another document (%s) is not followed: put the definition into the schema itself", url)
}

func compileSchema(data []byte) (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, jsonError(data, err)
	}
	const name = "values:///" + schemaFile // no scheme that anything could be read by
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(closed{})
	if err := compiler.AddResource(name, document); err != nil {
		return nil, err
	}
	compiled, err := compiler.Compile(name)
	var load *jsonschema.LoadURLError
	if errors.As(err, &load) {
		return nil, load.Err
	}
	return compiled, err
}

// jsonError says on which line data is not JSON.
func jsonError(data []byte, err error) error {
	var syntax *json.SyntaxError
	if errors.As(json.Unmarshal(data, new(any)), &syntax) {
		line := 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
		return fmt.Errorf("line %d: is not JSON: %w", line, syntax)
	}
	return fmt.Errorf("is not JSON: %w", err)
}

// validate checks the values, with the defaults in them, against the schemas of
// the chart and its dependencies, which see their own part of the values.
func (s schemas) validate(c *chart.Chart, values map[string]any) error {
	if compiled := s[c]; compiled != nil {
		if err := validateValues(compiled, values); err != nil {
			return fmt.Errorf("%w (%s)", err, PathIn(c, schemaFile))
		}
	}
	for _, d := range c.Dependencies() {
		part, ok := values[d.Name()].(map[string]any)
		if !ok {
			continue
		}
		if err := s.validate(d, part); err != nil {
			return fmt.Errorf("%s: %w", d.Name(), err)
		}
	}
	return nil
}

// validateValues names every field that the schema does not allow.
func validateValues(schema *jsonschema.Schema, values map[string]any) error {
	encoded, err := json.Marshal(values)
	if err != nil {
		return err
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err == nil {
		err = schema.Validate(plain)
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	found := &findings{onlyMissing: true}
	found.add(invalid)
	sort.Strings(found.texts)
	if found.onlyMissing {
		return MissingError{Text: strings.Join(found.texts, "; ")}
	}
	return errors.New(strings.Join(found.texts, "; "))
}

// findings are the leaves of a validation error.
type findings struct {
	texts       []string
	onlyMissing bool
}

func (f *findings) add(e *jsonschema.ValidationError) {
	for _, cause := range e.Causes {
		f.add(cause)
	}
	if len(e.Causes) > 0 {
		return
	}
	field := cmp.Or(strings.Join(e.InstanceLocation, "."), "values")
	if _, ok := e.ErrorKind.(*kind.Required); !ok {
		f.onlyMissing = false
	}
	f.texts = append(f.texts, field+": "+e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
}

// MissingError reports a value that the chart needs and does not have. A target
// may give it.
type MissingError struct {
	// Text says which one.
	Text string
	// Asked: a template had looked something up, which only a cluster has.
	Asked bool
}

func (e MissingError) Error() string { return e.Text }
