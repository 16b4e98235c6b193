package pack

import (
	"text/template/parse"

	"helm.sh/helm/v3/pkg/chart"

	"github.com/nationtech/harmony/pkg/protocol"
)

// checkTemplates refuses templates that do not parse, and a values schema that
// is not JSON or refers to what is not in it. What the templates make of the
// values only a rendering can tell.
func checkTemplates(c *chart.Chart) error {
	for _, file := range c.Templates {
		t := parse.New(file.Name)
		t.Mode = parse.SkipFuncCheck
		if _, err := t.Parse(string(file.Data), "", "", map[string]*parse.Tree{}); err != nil {
			return protocol.Invalid("%w", err) // it starts with template: NAME:LINE:
		}
	}
	return checkSchema(c)
}

// checkSchema looks at the schemas of the dependencies too.
func checkSchema(c *chart.Chart) error {
	for _, d := range c.Dependencies() {
		if err := checkTemplates(d); err != nil {
			return protocol.Invalid("in %s: %w", fileIn(d, ""), err)
		}
	}
	return nil
}
