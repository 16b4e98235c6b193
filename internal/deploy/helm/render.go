package helm

import (
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"

	"github.com/nationtech/harmony/internal/deploy/manifest"
	"github.com/nationtech/harmony/internal/deploy/proof"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rendered is what a chart gives for its values, before anything is applied.
type rendered struct{ objects, hooks []*unstructured.Unstructured }

// capabilities asks the API server what it is, once for the preview and for
// Helm.
func capabilities(c *cluster) (*chartutil.Capabilities, error) {
	version, err := c.discovery.ServerVersion()
	if err != nil {
		return nil, err
	}
	kinds, err := action.GetVersionSet(c.discovery)
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	return &chartutil.Capabilities{
		KubeVersion: chartutil.KubeVersion{Version: version.GitVersion, Major: version.Major, Minor: version.Minor},
		APIVersions: kinds, HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
	}, nil
}

// preview renders the chart as Helm will, to look at the result before the
// cluster is touched. It changes the chart, which is of no more use then.
func preview(c *cluster, ch *chart.Chart, values map[string]any, options chartutil.ReleaseOptions, caps *chartutil.Capabilities) (rendered, error) {
	if err := chartutil.ProcessDependenciesWithMerge(ch, values); err != nil {
		return rendered{}, err
	}
	input, err := chartutil.ToRenderValues(ch, values, options, caps)
	if err != nil {
		return rendered{}, err
	}
	files, err := engine.New(c.Config).Render(ch, input)
	if err != nil {
		return rendered{}, err
	}
	described, err := manifest.Files(files)
	if err != nil {
		return rendered{}, err
	}
	var r rendered
	for _, file := range described {
		for _, object := range file.Objects {
			if _, isHook := object.GetAnnotations()[release.HookAnnotation]; isHook {
				r.hooks = append(r.hooks, object)
			} else {
				r.objects = append(r.objects, object)
			}
		}
	}
	return r, nil
}

// usesImage fails when no container that the chart describes has the image.
func (r rendered) usesImage(image protocol.ImageRef, ref protocol.ChartRef) error {
	images := proof.Images(r.objects)
	if proof.Uses(images, image.Digest) {
		return nil
	}
	found := "it has no container at all"
	if len(images) > 0 {
		found = "its containers: " + strings.Join(images, ", ")
	}
	return protocol.Invalid("chart %q does not use the image: no container has %s@%s (%s)", ref.Chart, image.FullName(), image.Digest, found).
		WithHint("the image stands in %s; use it in the chart's templates, and see that the target's values do not replace it", ref.Image.Places())
}
