// Package schemas holds the JSON Schemas of every kind of document, made from
// the Go types of package protocol by the command in the folder generate.
//
// The schemas of the kinds are lenient, as a stage is: a field that they do not
// know is no error. harmony.yaml.json, for editors, is strict.
//
// The package is for tests and tools. No binary of the suite imports it.
package schemas

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Files holds the schema files, KIND.json for every kind.
//
//go:embed *.json
var Files embed.FS

// Validate is nil when a line of a stream is a document of its kind's schema;
// one of a kind or an apiVersion that this version does not know must have the
// envelope only. The error names each field that is not as it should be.
func Validate(line []byte) error {
	document, err := protocol.Parse(line)
	if err != nil {
		return err
	}
	name := "Document.json"
	if document.Known() {
		name = string(document.Kind) + ".json"
	}
	return ValidateAs(name, line)
}

// ValidateAs validates JSON against one of the schema files.
func ValidateAs(name string, text []byte) error {
	all, err := compiled()
	if err != nil {
		return err
	}
	schema, ok := all[name]
	if !ok {
		return fmt.Errorf("there is no schema %s", name)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// compiled is every schema, by file name, read once.
var compiled = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	names, err := fs.Glob(Files, "*.json")
	if err != nil {
		return nil, err
	}
	all := make(map[string]*jsonschema.Schema, len(names))
	for _, name := range names {
		if all[name], err = compile(name); err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
	}
	return all, nil
})

func compile(name string) (*jsonschema.Schema, error) {
	text, err := Files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, value); err != nil {
		return nil, err
	}
	return compiler.Compile(name)
}
