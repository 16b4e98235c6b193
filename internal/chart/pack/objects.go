package pack

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"
)

// object is one rendered Kubernetes object.
type object struct {
	file string // the template that it is from
	body map[string]any
}

func (o object) kind() string       { return text(o.body, "kind") }
func (o object) apiVersion() string { return text(o.body, "apiVersion") }
func (o object) name() string       { return text(o.body, "metadata", "name") }

// group is the API group: "" is that of pods.
func (o object) group() string {
	group, _, grouped := strings.Cut(o.apiVersion(), "/")
	if !grouped {
		return ""
	}
	return group
}

// String names the object as kubectl does.
func (o object) String() string { return strings.ToLower(o.kind()) + "/" + o.name() }

// text is the text at a path of keys, or "".
func text(m map[string]any, keys ...string) string {
	s, _ := lookup(m, keys...).(string)
	return s
}

// lookup is the value at a path of keys, or nil.
func lookup(m map[string]any, keys ...string) any {
	var value any = m
	for _, key := range keys {
		inside, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = inside[key]
	}
	return value
}

// parseObjects reads the objects of the rendered templates, in the order of
// their files. The items of a List are objects of their own.
func parseObjects(rendered map[string]string) ([]object, error) {
	var objects []object
	for _, file := range slices.Sorted(maps.Keys(rendered)) {
		documents := releaseutil.SplitManifests(rendered[file])
		keys := slices.Collect(maps.Keys(documents))
		sort.Sort(releaseutil.BySplitManifestsOrder(keys))
		for _, key := range keys {
			var body map[string]any
			if err := yaml.Unmarshal([]byte(documents[key]), &body); err != nil {
				return nil, fmt.Errorf("%s renders to what is no YAML: %w", file, withLine(err, documents[key]))
			}
			objects = append(objects, expand(object{file, body})...)
		}
	}
	return objects, nil
}

// expand leaves out what holds nothing, and takes a List apart.
func expand(o object) []object {
	items, isList := o.body["items"].([]any)
	switch {
	case len(o.body) == 0:
		return nil
	case !isList || !strings.HasSuffix(o.kind(), "List"):
		return []object{o}
	}
	var objects []object
	for _, item := range items {
		if body, ok := item.(map[string]any); ok {
			objects = append(objects, expand(object{o.file, body})...)
		}
	}
	return objects
}

// withLine adds the rendered line that an error of the YAML parser means.
func withLine(err error, rendered string) error {
	found := regexp.MustCompile(`line (\d+)`).FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	lines := strings.Split(rendered, "\n")
	number, convErr := strconv.Atoi(found[1])
	if convErr != nil || number < 1 || number > len(lines) {
		return err
	}
	return fmt.Errorf("%w: %q", err, strings.TrimSpace(lines[number-1]))
}

// checkObjects refuses objects that the API server would refuse for their name
// or labels, after other objects are in place. All that is wrong is told at
// once.
func checkObjects(objects []object) error {
	var problems []error
	seen := map[string]string{}
	for _, o := range objects {
		for _, problem := range checkObject(o) {
			problems = append(problems, fmt.Errorf("%s: %s: %s", o.file, o, problem))
		}
		id := strings.Join([]string{o.group(), o.kind(), text(o.body, "metadata", "namespace"), o.name()}, "/")
		if isHook(o) || o.name() == "" {
			continue
		}
		if other, twice := seen[id]; twice {
			problems = append(problems, fmt.Errorf("%s: %s is made by %s too", o.file, o, other))
		}
		seen[id] = o.file
	}
	return errors.Join(problems...)
}

func isHook(o object) bool { return text(o.body, "metadata", "annotations", "helm.sh/hook") != "" }

func checkObject(o object) []string {
	if o.kind() == "" || o.apiVersion() == "" {
		return []string{"has no kind or no apiVersion"}
	}
	problems := checkObjectName(o)
	problems = append(problems, checkMetadata(o.body, "metadata")...)
	for _, template := range [][]string{{"spec", "template"}, {"spec", "jobTemplate"}, {"spec", "jobTemplate", "spec", "template"}} {
		if inside, ok := lookup(o.body, template...).(map[string]any); ok && isBuiltIn(o) {
			problems = append(problems, checkMetadata(inside, strings.Join(template, ".")+".metadata")...)
		}
	}
	if isBuiltIn(o) {
		problems = append(problems, checkLabels(lookup(o.body, "spec", "selector", "matchLabels"), "spec.selector.matchLabels")...)
	}
	return problems
}

// isBuiltIn reports an object of Kubernetes itself, of which the fields are known.
func isBuiltIn(o object) bool {
	group := o.group()
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") && group != "apiextensions.k8s.io"
}
