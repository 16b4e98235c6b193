package pack

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nationtech/harmony/internal/chart/file"
)

// lookup is the value at a path of keys, or nil.
func lookup(m map[string]any, keys ...string) any {
	value, _, _ := unstructured.NestedFieldNoCopy(m, keys...)
	return value
}

// checkObjects refuses objects that the API server would refuse for their name
// or labels, after other objects are in place. It reports all problems at once.
func checkObjects(r file.Rendered) error {
	var problems []error
	check := func(o *unstructured.Unstructured) {
		for _, problem := range checkObject(o) {
			problems = append(problems, fmt.Errorf("%s: %s: %s", r.Source(o), file.Title(o), problem))
		}
	}
	for _, o := range r.Hooks {
		check(o)
	}
	seen := map[[4]string]string{}
	for _, o := range r.Objects {
		check(o)
		if o.GetName() == "" {
			continue
		}
		id := [4]string{o.GroupVersionKind().Group, o.GetKind(), o.GetNamespace(), o.GetName()}
		if other, twice := seen[id]; twice {
			problems = append(problems, fmt.Errorf("%s: %s is made by %s too", r.Source(o), file.Title(o), other))
		}
		seen[id] = r.Source(o)
	}
	return errors.Join(problems...)
}

func checkObject(o *unstructured.Unstructured) []string {
	if o.GetKind() == "" || o.GetAPIVersion() == "" {
		return []string{"has no kind or no apiVersion"}
	}
	problems := append(checkObjectName(o), checkMetadata(o.Object, "metadata")...)
	if !file.IsBuiltIn(o) {
		return problems
	}
	for _, template := range [][]string{{"spec", "template"}, {"spec", "jobTemplate"}, {"spec", "jobTemplate", "spec", "template"}} {
		if inside, ok := lookup(o.Object, template...).(map[string]any); ok {
			problems = append(problems, checkMetadata(inside, strings.Join(template, ".")+".metadata")...)
		}
	}
	return append(problems, checkLabels(lookup(o.Object, "spec", "selector", "matchLabels"), "spec.selector.matchLabels")...)
}

// checkObjectName checks an object's name against the API server's rules for its
// kind.
func checkObjectName(o *unstructured.Unstructured) []string {
	name := o.GetName()
	if name == "" {
		return []string{fmt.Sprintf("metadata.name must be a string, not %v", lookup(o.Object, "metadata", "name"))}
	}
	kind := o.GroupVersionKind().GroupKind().String()
	problems := nameRule(kind)(name)
	if kind == "CronJob.batch" && len(name) > 52 {
		problems = append(problems, "a CronJob's name has 52 characters at most: its Jobs add 11")
	}
	if namespace := lookup(o.Object, "metadata", "namespace"); namespace != nil {
		problems = append(problems, validation.IsDNS1123Label(fmt.Sprint(namespace))...)
	}
	for i := range problems {
		problems[i] = fmt.Sprintf("name %q: %s", name, problems[i])
	}
	return problems
}

func nameRule(kind string) func(string) []string {
	switch {
	case strings.HasSuffix(kind, ".rbac.authorization.k8s.io"):
		return content.IsPathSegmentName
	case slices.Contains([]string{"Namespace", "Service", "StatefulSet.apps", "Job.batch"}, kind):
		return validation.IsDNS1123Label // of the latter two it becomes a label's value
	}
	return validation.IsDNS1123Subdomain
}

// checkMetadata checks the labels and annotations of an object or a pod template.
func checkMetadata(holder map[string]any, field string) []string {
	problems := checkLabels(lookup(holder, "metadata", "labels"), field+".labels")
	annotations, wrong := texts(lookup(holder, "metadata", "annotations"), field+".annotations")
	problems = append(problems, wrong...)
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		for _, wrong := range validation.IsQualifiedName(strings.ToLower(key)) {
			problems = append(problems, fmt.Sprintf("%s: key %q: %s", field+".annotations", key, wrong))
		}
	}
	return problems
}

func checkLabels(value any, field string) []string {
	labels, problems := texts(value, field)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		for _, wrong := range validation.IsQualifiedName(key) {
			problems = append(problems, fmt.Sprintf("%s: key %q: %s", field, key, wrong))
		}
		for _, wrong := range validation.IsValidLabelValue(labels[key]) {
			problems = append(problems, fmt.Sprintf("%s: %s: %q: %s", field, key, labels[key], wrong))
		}
	}
	return problems
}

// texts is a map of strings, and the members that are not: YAML takes true and
// 1.0 for something else unless they are quoted.
func texts(value any, field string) (map[string]string, []string) {
	members, ok := value.(map[string]any)
	if !ok && value != nil {
		return nil, []string{field + " is not a map"}
	}
	made := map[string]string{}
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(members)) {
		switch v := members[key].(type) {
		case string:
			made[key] = v
		case nil: // the API server takes it for ""
		default:
			problems = append(problems, fmt.Sprintf("%s: %s is %v, not a string: quote it", field, key, v))
		}
	}
	return made, problems
}
