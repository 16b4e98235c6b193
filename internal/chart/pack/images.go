package pack

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// checkImage refuses a chart of which no container takes the image by its
// digest: it would deploy something else than what was released. In a plan the
// digest may not be known yet.
func checkImage(objects []object, places protocol.ChartImage, image protocol.ImageRef) error {
	if image.Digest == "" {
		return nil
	}
	var found []string
	for _, o := range objects {
		for _, used := range images(o, isBuiltIn(o)) {
			if isImage(used, image) {
				return nil
			}
			found = append(found, fmt.Sprintf("%s in %s (%s)", used, o, o.file))
		}
	}
	what := "there are no containers"
	if len(found) > 0 {
		what = "the images are " + strings.Join(found, ", ")
	}
	return unusedError{protocol.Invalid("no container takes the image %s, which is in the values at %s: %s", image, strings.Join(placeNames(places), ", "), what).
		WithHint("the templates must use %s, and no target's values may replace it; spec.chart.image says where it is", placeNames(places)[0])}
}

// unusedError says that a chart does not use the image with some values.
type unusedError struct{ err error }

func (e unusedError) Error() string { return e.err.Error() }
func (e unusedError) Unwrap() error { return e.err }

func isImage(used string, image protocol.ImageRef) bool {
	parsed, err := protocol.ParseImageRef(used)
	return err == nil && parsed.Digest == image.Digest && parsed.FullName() == image.FullName()
}

// placeNames is where the values take the image, as .Values paths.
func placeNames(p protocol.ChartImage) []string {
	names := slices.DeleteFunc([]string{p.Value, p.Registry, p.Repository, p.Tag, p.Digest}, func(s string) bool { return s == "" })
	if len(names) == 0 {
		return []string{"spec.chart.image"}
	}
	for i := range names {
		names[i] = ".Values." + names[i]
	}
	return names
}

// images is every image in the value: those of containers, and in custom
// resources, whose controllers make the pods, every field called image.
func images(o object, builtIn bool) []string {
	var found []string
	var walk func(value any, container bool)
	walk = func(value any, container bool) {
		switch v := value.(type) {
		case map[string]any:
			if image, ok := v["image"].(string); ok && (container || !builtIn) {
				found = append(found, image)
			}
			for _, key := range slices.Sorted(maps.Keys(v)) {
				_, isList := v[key].([]any)
				walk(v[key], isList && (key == "containers" || key == "initContainers"))
			}
		case []any:
			for _, item := range v {
				walk(item, container)
			}
		}
	}
	if builtIn {
		walk(podSpec(o), false)
		return found
	}
	walk(o.body, false)
	return found
}

// podSpec is the specification of the pods that a built-in object makes, or nil.
func podSpec(o object) any {
	switch o.kind() {
	case "Pod":
		return lookup(o.body, "spec")
	case "CronJob":
		return lookup(o.body, "spec", "jobTemplate", "spec", "template", "spec")
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job":
		return lookup(o.body, "spec", "template", "spec")
	}
	return nil
}
