package pack

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"
)

// checkObjectName holds an object's name to the API server's rules for its kind.
func checkObjectName(o object) []string {
	name := o.name()
	if name == "" {
		return []string{fmt.Sprintf("metadata.name is not a text but %v", lookup(o.body, "metadata", "name"))}
	}
	problems := nameRule(o)(name)
	if o.group() == "batch" && o.kind() == "CronJob" && len(name) > 52 {
		problems = append(problems, "a CronJob's name has 52 characters at most: its Jobs add 11")
	}
	if namespace := lookup(o.body, "metadata", "namespace"); namespace != nil {
		problems = append(problems, validation.IsDNS1123Label(fmt.Sprint(namespace))...)
	}
	for i := range problems {
		problems[i] = fmt.Sprintf("name %q: %s", name, problems[i])
	}
	return problems
}

func nameRule(o object) func(string) []string {
	switch {
	case o.group() == "rbac.authorization.k8s.io":
		return content.IsPathSegmentName
	case o.group() == "" && (o.kind() == "Namespace" || o.kind() == "Service"):
		return validation.IsDNS1123Label
	case o.group() == "apps" && o.kind() == "StatefulSet", o.group() == "batch" && o.kind() == "Job":
		return validation.IsDNS1123Label // it becomes a label's value
	}
	return validation.IsDNS1123Subdomain
}

// checkMetadata looks at the labels and annotations of an object or of a pod
// template.
func checkMetadata(holder map[string]any, field string) []string {
	problems := checkLabels(lookup(holder, "metadata", "labels"), field+".labels")
	annotations, problem := texts(lookup(holder, "metadata", "annotations"), field+".annotations")
	problems = append(problems, problem...)
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

// texts is a map of texts, and what in the value is none: YAML takes true and
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
			problems = append(problems, fmt.Sprintf("%s: %s is %v, not a text: quote it", field, key, v))
		}
	}
	return made, problems
}
