package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/nationtech/harmony/internal/plugins/index"
	"github.com/nationtech/harmony/pkg/protocol"
)

// base is the folder of the schemas' ids.
const base = "https://harmony.nationtech.io/schemas/v1/"

// specs holds a value of every kind's type.
func specs() []protocol.Spec {
	return []protocol.Spec{
		protocol.AppSpec{}, protocol.Topology{}, protocol.ImageRef{}, protocol.ChartRef{}, protocol.DeployResult{},
		protocol.SmokeReport{}, protocol.Failure{}, protocol.PluginInfo{}, protocol.Event{},
		protocol.BuildContext{}, protocol.Pipeline{}, protocol.MonitoringResult{}, protocol.MigrationReport{},
		protocol.CheckRequest{}, protocol.CheckAnswer{},
	}
}

// generate makes every schema file, by its name. It reads the sources of
// package protocol below the current folder for their comments.
func generate() (map[string][]byte, error) {
	lenient, err := newReflector(true)
	if err != nil {
		return nil, err
	}
	strict, err := newReflector(false)
	if err != nil {
		return nil, err
	}
	schemas := map[string]*jsonschema.Schema{
		"Document.json":     unknownDocument(lenient),
		"harmony.yaml.json": configuration(strict),
		"Plugin.json":       pluginManifest(strict),
	}
	for _, spec := range specs() {
		schemas[string(spec.DocumentKind())+".json"] = document(lenient, spec)
	}
	files := make(map[string][]byte, len(schemas))
	for name, schema := range schemas {
		schema.Version, schema.ID = jsonschema.Version, jsonschema.ID(base+name)
		if files[name], err = marshal(schema); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return files, nil
}

func marshal(schema *jsonschema.Schema) ([]byte, error) {
	encoded, err := json.Marshal(schema)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, encoded, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// reference matches a link of a Go comment, such as [Spec].
var reference = regexp.MustCompile(`\[([A-Za-z.]+)\]`)

// newReflector makes the reader of Go types. A lenient one lets fields pass
// that it does not know, as a stage does with documents of a newer one.
func newReflector(lenient bool) (*jsonschema.Reflector, error) {
	r := &jsonschema.Reflector{Anonymous: true, AllowAdditionalProperties: lenient, Mapper: mapped}
	for _, folder := range []string{"pkg/protocol", "internal/plugins/index", "internal/plugins/artifact"} {
		if err := r.AddGoComments("github.com/nationtech/harmony", folder, jsonschema.WithFullComment()); err != nil {
			return nil, err
		}
	}
	for name, comment := range r.CommentMap {
		r.CommentMap[name] = reference.ReplaceAllString(strings.Join(strings.Fields(comment), " "), "$1")
	}
	return r, nil
}

// document is the schema of a whole document of one kind.
func document(r *jsonschema.Reflector, spec protocol.Spec) *jsonschema.Schema {
	kind, name := string(spec.DocumentKind()), reflect.TypeOf(spec).Name()
	definitions := jsonschema.Definitions{}
	maps.Copy(definitions, r.Reflect(spec).Definitions)
	maps.Copy(definitions, r.Reflect(protocol.Metadata{}).Definitions)
	constrain(definitions)
	d := &jsonschema.Schema{
		Title:       kind,
		Description: definitions[name].Description,
		Type:        "object",
		Properties:  jsonschema.NewProperties(),
		Required:    []string{"apiVersion", "kind", "metadata", "spec"},
		Definitions: definitions,
	}
	d.Properties.Set("apiVersion", &jsonschema.Schema{Const: protocol.APIVersion})
	d.Properties.Set("kind", &jsonschema.Schema{Const: kind})
	d.Properties.Set("metadata", &jsonschema.Schema{Ref: "#/$defs/Metadata"})
	d.Properties.Set("spec", &jsonschema.Schema{Ref: "#/$defs/" + name})
	if !r.AllowAdditionalProperties {
		d.AdditionalProperties = jsonschema.FalseSchema
	}
	return d
}

// unknownDocument is the schema of the envelope alone, for a document of a kind
// that is only forwarded.
func unknownDocument(r *jsonschema.Reflector) *jsonschema.Schema {
	text := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }
	one := uint64(1)
	metadata := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties()}
	metadata.Properties.Set("name", text())
	metadata.Properties.Set("version", text())
	d := &jsonschema.Schema{
		Title:       "Document",
		Description: "The envelope of a document of any kind, also one that this version does not know.",
		Type:        "object",
		Properties:  jsonschema.NewProperties(),
		Required:    []string{"apiVersion", "kind"},
	}
	d.Properties.Set("apiVersion", text())
	d.Properties.Set("kind", &jsonschema.Schema{Type: "string", MinLength: &one, Description: r.CommentMap["github.com/nationtech/harmony/pkg/protocol.Kind"]})
	d.Properties.Set("metadata", metadata)
	return d
}

// configuration is the schema of each document of a harmony.yaml, for editors:
// what it does not know is an error, and it says what goes together.
func configuration(r *jsonschema.Reflector) *jsonschema.Schema {
	definitions := jsonschema.Definitions{}
	c := &jsonschema.Schema{
		Title:       "harmony.yaml",
		Description: "An app, a topology or a pipeline of a project.",
		Definitions: definitions,
	}
	for _, spec := range []protocol.Spec{protocol.AppSpec{}, protocol.Topology{}, protocol.Pipeline{}} {
		d := document(r, spec)
		maps.Copy(definitions, d.Definitions)
		d.Definitions = nil
		name := d.Title + "Document"
		definitions[name] = d
		c.OneOf = append(c.OneOf, &jsonschema.Schema{Ref: "#/$defs/" + name})
	}
	choose(definitions)
	return c
}

// pluginManifest is the schema of a plugin's manifest in an index, for editors and
// for whoever publishes one: as strict as harmony is.
func pluginManifest(r *jsonschema.Reflector) *jsonschema.Schema {
	d := document(r, index.Manifest{})
	constrainManifest(d.Definitions)
	return d
}

// workloadValues is the values.schema.json of the charts that are generated for
// a workload: its fields, and the image. Charts say definitions, which every
// Helm understands.
func workloadValues() ([]byte, error) {
	r, err := newReflector(false)
	if err != nil {
		return nil, err
	}
	definitions := r.Reflect(protocol.Workload{}).Definitions
	constrain(definitions)
	values := definitions["Workload"]
	values.Version = "http://json-schema.org/draft-07/schema#"
	values.Title, values.Description = "Values", "What may be set in the values of this chart."
	values.Properties.Set("image", &jsonschema.Schema{Type: "string", Description: "The whole reference of the image, with its digest."})
	values.Properties.Set("global", &jsonschema.Schema{Type: "object"})
	values.Required = []string{"image"}
	delete(definitions, "Workload")
	values.Definitions = definitions
	text, err := marshal(values)
	if err != nil {
		return nil, err
	}
	return bytes.ReplaceAll(text, []byte(`$defs`), []byte(`definitions`)), nil
}
