package delivery

import (
	"context"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Capabilities asks an API server what it is.
func Capabilities(client discovery.DiscoveryInterface) (*chartutil.Capabilities, error) {
	version, err := client.ServerVersion()
	if err != nil {
		return nil, err
	}
	kinds, err := action.GetVersionSet(client)
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	return &chartutil.Capabilities{
		KubeVersion: chartutil.KubeVersion{Version: version.GitVersion, Major: version.Major, Minor: version.Minor},
		APIVersions: kinds, HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
	}, nil
}

// Rendered is a chart as a controller would render it.
type Rendered struct {
	file.Rendered
	BringsKinds bool
}

// Render renders a chart with its values for a cluster as a controller will, as far
// as can be known here.
func Render(ctx context.Context, client discovery.DiscoveryInterface, app protocol.AppSpec, target, namespace string, chart protocol.ChartRef, values map[string]any,
	first bool) (Rendered, error) {
	archive, err := file.Fetch(ctx, chart)
	if err != nil {
		return Rendered{}, err
	}
	loaded, err := file.Load(archive)
	if err != nil {
		return Rendered{}, err
	}
	caps, err := Capabilities(client)
	if err != nil {
		return Rendered{}, err
	}
	brings := len(loaded.CRDObjects()) > 0
	options := chartutil.ReleaseOptions{Name: app.Name, Namespace: namespace, Revision: 1, IsInstall: first, IsUpgrade: !first}
	r, err := file.Render(engine.Engine{}, loaded, values, options, caps)
	if err != nil {
		return Rendered{}, protocol.Invalid("chart %q with the values of target %q: %w", chart.Chart, target, err)
	}
	return Rendered{r, brings}, r.Held(chart)
}

// Differences are what would become of the objects of the call's chart if a controller
// applied them; before are those that it applied last, and mark adds what it writes on
// its objects, or is nil.
func (c *Call) Differences(ctx context.Context, before []*unstructured.Unstructured, mark func(*unstructured.Unstructured)) ([]difference.Object, error) {
	rendered, err := Render(ctx, c.Discovery, c.App, c.Target, c.Namespace, c.Chart, c.Values.All, before == nil)
	if err != nil {
		return nil, err
	}
	if _, err := (drift.Finder{Space: c.Space()}).KeepReplicas(ctx, before, rendered.Objects); err != nil {
		return nil, err
	}
	preview := Preview{Space: c.Space(), Mark: mark, Source: rendered.Source, BringsKinds: rendered.BringsKinds}
	return preview.Differences(ctx, before, rendered.Objects)
}
