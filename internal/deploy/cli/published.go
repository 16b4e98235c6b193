package cli

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// published looks up what the registries hold of the app's version.
func published(ctx context.Context, topology protocol.Topology, app protocol.AppSpec) (release, error) {
	images, charts := topology.OCIRegistry, topology.HelmRegistry
	if images == nil || charts == nil || images.URL == "" || charts.URL == "" {
		return release{}, protocol.Unsupported("topology %q keeps no published charts to compare with", topology.Name).
			WithHint("bring the documents: harmony build %[1]s | harmony publish | harmony diff", app.Name)
	}
	chartName, err := chartName(app)
	if err != nil {
		return release{}, err
	}
	image, err := lookup(ctx, *images, cmp.Or(app.Image.Repository, app.Name), app)
	if err != nil {
		return release{}, err
	}
	chart, err := lookup(ctx, *charts, chartName, app)
	if err != nil {
		return release{}, err
	}
	return release{app: app, image: &protocol.ImageRef{
		Metadata: app.Metadata, Registry: image.host, Repository: image.path, Tag: image.tag, Digest: image.digest,
		Location: protocol.InRegistry, Insecure: images.Insecure,
	}, chart: &protocol.ChartRef{
		Metadata: app.Metadata, URL: "oci://" + chart.host + "/" + chart.path, Chart: chartName, ChartVersion: app.Version,
		Digest: chart.digest, Image: app.Chart.ImagePlaces(), Insecure: charts.Insecure,
	}}, nil
}

// artifact is something in a registry.
type artifact struct{ host, path, tag, digest string }

// lookup asks a registry for the digest of the app's version.
func lookup(ctx context.Context, registry protocol.Provider, repository string, app protocol.AppSpec) (artifact, error) {
	tag := strings.ReplaceAll(app.Version, "+", "_")
	where := registry.URL + "/" + repository
	ref, err := name.NewTag(where+":"+tag, auth.Naming(registry.Insecure)...)
	if err != nil {
		return artifact{}, protocol.Invalid("app %q: %w", app.Name, err)
	}
	found, err := remote.Head(ref, auth.Options(ctx, ref, registry.Insecure)...)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return artifact{}, protocol.Invalid("app %q: version %s is not published as %s", app.Name, app.Version, ref).
			WithHint("publish it, name another --version, or bring the documents: harmony build %s | harmony publish | harmony diff", app.Name)
	}
	if err != nil {
		return artifact{}, protocol.Retryable("look up %s: %w", ref, err)
	}
	host, path, _ := strings.Cut(where, "/")
	return artifact{host, path, tag, found.Digest.String()}, nil
}

// chartName is the name that publish gives to the app's chart.
func chartName(app protocol.AppSpec) (string, error) {
	if app.Chart.Path == "" {
		return app.Name, nil
	}
	file := filepath.Join(app.ProjectRoot, app.Chart.Path, chartutil.ChartfileName)
	metadata, err := chartutil.LoadChartfile(file)
	if os.IsNotExist(err) {
		return "", protocol.Invalid("app %q: %s does not exist", app.Name, file)
	}
	if err != nil {
		return "", protocol.Invalid("app %q: %s: %w", app.Name, file, err)
	}
	return metadata.Name, nil
}
