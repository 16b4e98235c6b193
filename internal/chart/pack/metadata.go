package pack

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"

	"github.com/nationtech/harmony/pkg/protocol"
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

// checkDependencies refuses a chart of which a part is not there, or is another
// than Chart.yaml and Chart.lock say. It reports all problems at once.
func checkDependencies(c *chart.Chart) error {
	var problems []error
	for _, wanted := range c.Metadata.Dependencies {
		if err := checkDependency(c, wanted); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return protocol.Invalid("%w", errors.Join(problems...)).
		WithHint("run helm dependency build on the chart's folder (helm dependency update when %s is behind)", lockFile)
}

const lockFile = "Chart.lock"

func checkDependency(c *chart.Chart, wanted *chart.Dependency) error {
	name := wanted.Name
	if wanted.Version != "" {
		name += " " + wanted.Version
	}
	var there []string
	for _, d := range c.Dependencies() {
		if d.Name() == wanted.Name {
			there = append(there, d.Metadata.Version)
		}
	}
	if len(there) == 0 {
		return fmt.Errorf("dependency %s of %s is missing in charts/", name, chartFile)
	}
	fitting := slices.DeleteFunc(slices.Clone(there), func(v string) bool { return !satisfies(v, wanted.Version) })
	if len(fitting) == 0 {
		return fmt.Errorf("dependency %s of %s: charts/ has version %s", name, chartFile, there[0])
	}
	if c.Lock == nil {
		return nil
	}
	var locked []string // several when the same chart has several aliases
	for _, d := range c.Lock.Dependencies {
		if d != nil && d.Name == wanted.Name && satisfies(d.Version, wanted.Version) {
			locked = append(locked, d.Version)
			if slices.ContainsFunc(fitting, func(v string) bool { return sameVersion(v, d.Version) }) {
				return nil
			}
		}
	}
	if len(locked) == 0 {
		return fmt.Errorf("dependency %s of %s is not in %s", name, chartFile, lockFile)
	}
	return fmt.Errorf("dependency %s: %s has version %s, charts/ has %s", name, lockFile, locked[0], fitting[0])
}

// satisfies reports that a version is in the range, as Helm takes it. No range
// is any version.
func satisfies(version, constraint string) bool {
	if constraint == "" {
		return true
	}
	v, err := semver.NewVersion(version)
	if err != nil {
		return false
	}
	c, err := semver.NewConstraint(constraint)
	return err == nil && c.Check(v)
}

// sameVersion reports versions that mean the same: v1.0.0 is 1.0.0.
func sameVersion(a, b string) bool {
	left, err := semver.NewVersion(a)
	if err != nil {
		return a == b
	}
	right, err := semver.NewVersion(b)
	return err == nil && left.Equal(right) && left.Metadata() == right.Metadata()
}
