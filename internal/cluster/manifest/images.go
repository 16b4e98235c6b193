package manifest

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Images lists the images of all containers that objects describe: those of
// pods, of pod templates, and of custom resources that hold one.
func Images(objects []*unstructured.Unstructured) []string {
	found := map[string]bool{}
	ReplaceImages(objects, func(image string) string {
		found[image] = true
		return image
	})
	return slices.Sorted(maps.Keys(found))
}

// ReplaceImages replaces the image of each container, as Images finds them.
func ReplaceImages(objects []*unstructured.Unstructured, with func(string) string) {
	for _, object := range objects {
		walk(object.Object, with)
	}
}

func walk(value any, with func(string) string) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			list, isList := member.([]any)
			if isList && (key == "containers" || key == "initContainers") {
				replace(list, with)
				continue
			}
			walk(member, with)
		}
	case []any:
		for _, member := range v {
			walk(member, with)
		}
	}
}

func replace(containers []any, with func(string) string) {
	for _, member := range containers {
		container, _ := member.(map[string]any)
		image, _ := container["image"].(string)
		if image == "" {
			continue
		}
		if changed := with(image); changed != image {
			container["image"] = changed
		}
	}
}

// Uses reports whether one of the images is pinned to the digest.
func Uses(images []string, digest string) bool {
	return slices.ContainsFunc(images, func(image string) bool { return strings.HasSuffix(image, "@"+digest) })
}
