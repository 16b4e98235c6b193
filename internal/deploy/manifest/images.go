package manifest

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Images lists the images of all containers that objects describe: those of
// pods, of pod templates, and of custom resources that hold one.
func Images(objects []*unstructured.Unstructured) []string {
	found := map[string]bool{}
	for _, object := range objects {
		collect(object.Object, found)
	}
	images := make([]string, 0, len(found))
	for image := range found {
		images = append(images, image)
	}
	slices.Sort(images)
	return images
}

func collect(value any, found map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			list, isList := member.([]any)
			if isList && (key == "containers" || key == "initContainers") {
				collectContainers(list, found)
				continue
			}
			collect(member, found)
		}
	case []any:
		for _, member := range v {
			collect(member, found)
		}
	}
}

func collectContainers(list []any, found map[string]bool) {
	for _, member := range list {
		container, _ := member.(map[string]any)
		if image, _ := container["image"].(string); image != "" {
			found[image] = true
		}
	}
}

// Uses reports whether one of the images is pinned to the digest.
func Uses(images []string, digest string) bool {
	return slices.ContainsFunc(images, func(image string) bool { return strings.HasSuffix(image, "@"+digest) })
}
