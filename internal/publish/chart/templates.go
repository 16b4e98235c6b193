package chart

import (
	"encoding/json"
	"text/template/parse"

	"helm.sh/helm/v3/pkg/chart"

	"github.com/nationtech/harmony/pkg/protocol"
)

// checkTemplates refuses templates that do not parse, and a values schema that
// is not JSON. What the templates make of the values only a rendering can tell.
func checkTemplates(c *chart.Chart) error {
	for _, file := range c.Templates {
		t := parse.New(file.Name)
		t.Mode = parse.SkipFuncCheck
		if _, err := t.Parse(string(file.Data), "", "", map[string]*parse.Tree{}); err != nil {
			return protocol.Invalid("%w", err) // it starts with template: NAME:LINE:
		}
	}
	if c.Schema != nil && !json.Valid(c.Schema) {
		return protocol.Invalid("values.schema.json is not JSON")
	}
	return nil
}
