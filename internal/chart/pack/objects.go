package pack

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
