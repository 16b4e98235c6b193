package pack

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
	"go.yaml.in/yaml/v3"
)

// checkIdentity refuses a Chart.yaml whose name, version or dependencies could
// lead out of a folder or a registry's path, or that has a key twice. What is
// missing is for Helm to report.
func checkIdentity(data []byte) error {
	document, err := parseYAML(data)
	if err != nil {
		return fmt.Errorf("%s: %w", chartFile, err)
	}
	root := document.Content[0]
	if name := at(root, "name"); name != nil && !isChartName(name.Value) {
		return badField(name, "name %q is invalid: letters, digits, dots, dashes and underscores are allowed, and .. is not", name.Value)
	}
	if version := at(root, "version"); version != nil {
		if _, err := semver.NewVersion(version.Value); err != nil {
			return badField(version, "version %q is invalid: %v", version.Value, err)
		}
	}
	dependencies := cmp.Or(at(root, "dependencies"), &yaml.Node{})
	for _, d := range dependencies.Content {
		if name := at(d, "name"); name != nil && !isChartName(name.Value) {
			return badField(name, "dependency name %q is invalid", name.Value)
		}
		if version := at(d, "version"); version != nil && version.Value != "" {
			if _, err := semver.NewConstraint(version.Value); err != nil {
				return badField(version, "dependency version %q is invalid: %v", version.Value, err)
			}
		}
	}
	return nil
}

func isChartName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return strings.Trim(name, letters) == "" && name != "." && !strings.Contains(name, "..")
}

func badField(at *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s: line %d: %s", chartFile, at.Line, fmt.Sprintf(format, args...))
}

// at is the value of a key, or nil.
func at(mapping *yaml.Node, key string) *yaml.Node {
	if mapping.Kind == yaml.AliasNode {
		mapping = mapping.Alias
	}
	for i := 0; mapping.Kind == yaml.MappingNode && i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			value := mapping.Content[i+1]
			if value.Kind == yaml.AliasNode {
				return value.Alias
			}
			return value
		}
	}
	return nil
}

// located adds to an error of Helm's about Chart.yaml the line of the field that
// it names: Helm says "Metadata.appVersion" or "chart.metadata.type".
func located(err error, data []byte) error {
	field := regexp.MustCompile(`[Mm]etadata\.([A-Za-z]+)`).FindStringSubmatch(err.Error())
	if field == nil {
		return err
	}
	document, parseErr := parseYAML(data)
	if parseErr != nil {
		return err
	}
	if node := at(document.Content[0], field[1]); node != nil {
		return fmt.Errorf("%s: line %d: %w", chartFile, node.Line, err)
	}
	return fmt.Errorf("%s: %w", chartFile, err)
}
