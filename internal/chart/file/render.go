package file

import (
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Rendered is what a chart gives for its values, before anything is applied.
type Rendered struct {
	Objects, Hooks []*unstructured.Unstructured
	sources        map[*unstructured.Unstructured]string
}

// Source is the template that gave the object, within the chart's folder.
func (r Rendered) Source(object *unstructured.Unstructured) string { return r.sources[object] }

// Render renders the chart as Helm does. It changes the chart, which is of no
// more use then.
func Render(e engine.Engine, ch *chart.Chart, values map[string]any, options chartutil.ReleaseOptions, caps *chartutil.Capabilities) (Rendered, error) {
	if err := chartutil.ProcessDependenciesWithMerge(ch, values); err != nil {
		return Rendered{}, err
	}
	input, err := chartutil.ToRenderValues(ch, values, options, caps)
	if err != nil {
		return Rendered{}, err
	}
	files, err := e.Render(ch, input)
	if err != nil {
		return Rendered{}, err
	}
	described, err := manifest.Files(files)
	if err != nil {
		return Rendered{}, err
	}
	r := Rendered{sources: map[*unstructured.Unstructured]string{}}
	for _, file := range described {
		_, source, _ := strings.Cut(file.Name, "/")
		for _, object := range file.Objects {
			r.sources[object] = source
			if _, isHook := object.GetAnnotations()[release.HookAnnotation]; isHook {
				r.Hooks = append(r.Hooks, object)
			} else {
				r.Objects = append(r.Objects, object)
			}
		}
	}
	return r, nil
}

// Uses fails when no container that the chart describes has the image.
func (r Rendered) Uses(image protocol.ImageRef, ref protocol.ChartRef) error {
	images := manifest.Images(r.Objects)
	if manifest.Uses(images, image.Digest) {
		return nil
	}
	found := "it has no container at all"
	if len(images) > 0 {
		found = "its containers: " + strings.Join(images, ", ")
	}
	return protocol.Invalid("chart %q does not use the image: no container has %s@%s (%s)", ref.Chart, image.FullName(), image.Digest, found).
		WithHint("the image stands in %s; use it in the chart's templates, and see that the target's values do not replace it", ref.Image.Places())
}
