package file

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// UnusedError reports a chart no container of which takes the image.
type UnusedError struct{ err error }

func (e UnusedError) Error() string { return e.err.Error() }

// Unwrap returns the error with its status and hint.
func (e UnusedError) Unwrap() error { return e.err }

// Uses fails with an [UnusedError] when no container takes the image by its
// digest: the chart would deploy something else than what was released. Hooks do
// not count, for they end. In a plan the digest may not be known yet.
func (r Rendered) Uses(image protocol.ImageRef, ref protocol.ChartRef) error {
	if image.Digest == "" {
		return nil
	}
	var found []string
	for _, o := range r.Objects {
		for _, used := range images(o) {
			parsed, err := protocol.ParseImageRef(used)
			if err == nil && parsed.Digest == image.Digest && parsed.FullName() == image.FullName() {
				return nil
			}
			found = append(found, fmt.Sprintf("%s in %s (%s)", used, Title(o), r.Source(o)))
		}
	}
	what := "there are no containers"
	if len(found) > 0 {
		what = "the images are " + strings.Join(found, ", ")
	}
	return UnusedError{protocol.Invalid("chart %q does not use the image: no container takes %s, which is in %s: %s", ref.Chart, image, ref.Image.Places(), what).
		WithHint("use %s in the templates, and do not replace it in the values of a target; spec.chart.image says where it is", ref.Image.Places())}
}

// Title names an object as kubectl does.
func Title(o *unstructured.Unstructured) string {
	return strings.ToLower(o.GetKind()) + "/" + o.GetName()
}

// IsBuiltIn reports an object of Kubernetes itself, whose fields are known.
func IsBuiltIn(o *unstructured.Unstructured) bool {
	group := o.GroupVersionKind().Group
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") && group != "apiextensions.k8s.io"
}

// images are those of containers, and in custom resources, whose controllers make
// the pods, every field called image.
func images(o *unstructured.Unstructured) []string {
	if IsBuiltIn(o) {
		return manifest.Images([]*unstructured.Unstructured{o})
	}
	var found []string
	var walk func(value any)
	walk = func(value any) {
		switch v := value.(type) {
		case map[string]any:
			if image, ok := v["image"].(string); ok {
				found = append(found, image)
			}
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(v[key])
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(o.Object)
	return found
}
