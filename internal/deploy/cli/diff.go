package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/spf13/cobra"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (t Tools) diff() *cobra.Command {
	p := &project{}
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "diff [APP...]",
		Short: "Show what a deploy would change on the cluster",
		Long: `Show what a deploy would change on the cluster, object by object, as unified diffs.
The API server is asked to try it and changes nothing. The values of Secrets are
never shown, only whether they change. Hooks are not shown.

The image and the chart are those of the documents on stdin, as for a deploy, or
else the published ones of the version.

The exit status is 0 even when there are changes; with --exit-code it is then 1.`,
		Example: `  harmony diff fleet-operator --target staging --version 1.4.0
  harmony build fleet-operator | harmony publish | harmony diff --target staging`,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			changed, err := t.runDiff(cmd.Context(), p, patterns)
			if err == nil && exitCode && changed > 0 {
				return &protocol.Error{Code: protocol.ExitFailed, Message: "there are changes"}
			}
			return err
		},
	}
	t.register(cmd, p)
	cmd.Flags().StringVar(&p.source.Version, "version", "", "the published semantic `version` (default by git describe)")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 1 when there are changes")
	return cmd
}

type release struct {
	app   protocol.AppSpec
	image *protocol.ImageRef
	chart *protocol.ChartRef
}

func (t Tools) runDiff(ctx context.Context, p *project, patterns []string) (int, error) {
	topology, releases, err := t.releases(ctx, p, patterns)
	if err != nil {
		return 0, err
	}
	target, err := p.oneTarget(topology)
	if err != nil {
		return 0, err
	}
	if err := delivers(topology, "diff"); err != nil {
		return 0, err
	}
	console, progress := t.console()
	defer console.Close()
	adapter, err := t.open(ctx, topology, adapterOf(topology), capability.Environment{DryRun: true, Progress: progress(target)})
	if err != nil {
		return 0, err
	}
	return t.show(ctx, adapter, target, releases)
}

// show prints what deploys would change, and returns how many objects that are.
func (t Tools) show(ctx context.Context, adapter delivery.Adapter, target string, releases []release) (total int, err error) {
	colour := term.IsTerminal(t.Streams.Out) && t.Streams.Getenv("NO_COLOR") == "" && t.Streams.Getenv("TERM") != "dumb"
	for _, r := range releases {
		objects, err := adapter.Diff(ctx, r.app, target, *r.image, *r.chart)
		if err != nil {
			return total, err
		}
		changed, err := difference.Write(t.Streams.Out, objects, colour)
		if total += changed; err != nil {
			return total, err
		}
	}
	return total, nil
}

// releases are those on stdin, or the published ones of the configuration.
func (t Tools) releases(ctx context.Context, p *project, patterns []string) (protocol.Topology, []release, error) {
	if t.Streams.Piped() {
		topology, releases, err := readStream(t.Streams.In, patterns)
		if err != nil || len(releases) > 0 {
			if topology == nil && err == nil {
				configured, err := p.source.ConfiguredTopology(ctx)
				return configured, releases, err
			}
			if topology == nil {
				topology = &protocol.Topology{}
			}
			return *topology, releases, err
		}
	}
	topology, apps, err := p.read(ctx, patterns)
	if err == nil {
		err = delivers(topology, "diff") // before a registry is asked
	}
	if err != nil {
		return topology, nil, err
	}
	if apps, err = p.source.WithVersions(ctx, apps); err != nil {
		return topology, nil, err
	}
	var releases []release
	for _, app := range apps {
		r, err := t.published(ctx, topology, app)
		if err != nil {
			return topology, nil, err
		}
		releases = append(releases, r)
	}
	return topology, releases, nil
}

type stream struct {
	topology *protocol.Topology
	order    []string
	byApp    map[string]*release
}

// readStream reads the documents of other stages. A Failure among them is returned as the error.
func readStream(in io.Reader, only []string) (*protocol.Topology, []release, error) {
	s := stream{byApp: map[string]*release{}}
	reader := protocol.NewReader(in)
	for {
		d, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, protocol.Invalid("stdin, %w", err)
		}
		if err := s.add(d); err != nil {
			return nil, nil, err
		}
	}
	wanted := map[string]bool{}
	for _, name := range only {
		wanted[name] = true
		if s.byApp[name] == nil && len(s.order) > 0 {
			return nil, nil, protocol.Invalid("app %q is not among the documents on stdin", name)
		}
	}
	var releases []release
	for _, name := range s.order {
		r := s.byApp[name]
		if len(only) > 0 && !wanted[name] {
			continue
		}
		if r.app.Name != "" && r.app.Image.IsNone() {
			r.image = &protocol.ImageRef{Metadata: r.app.Metadata}
		}
		if r.image == nil || r.chart == nil || r.app.Name == "" {
			return nil, nil, protocol.Invalid("stdin lacks the AppSpec, the ImageRef or the ChartRef of app %q", name).WithHint("publish it first")
		}
		releases = append(releases, *r)
	}
	return s.topology, releases, nil
}

// add records a document; the last of a kind wins.
func (s *stream) add(d protocol.Document) (err error) {
	if d.Kind == protocol.KindFailure {
		failure, err := protocol.Decode[protocol.Failure](d)
		if err != nil {
			return err
		}
		return failure.Err()
	}
	if d.Kind == protocol.KindTopology {
		topology, err := protocol.Decode[protocol.Topology](d)
		s.topology = &topology
		return err
	}
	r := s.byApp[d.Metadata.Name]
	if r == nil {
		r = &release{}
	}
	switch d.Kind {
	case protocol.KindAppSpec:
		r.app, err = protocol.Decode[protocol.AppSpec](d)
	case protocol.KindImageRef:
		var image protocol.ImageRef
		image, err = protocol.Decode[protocol.ImageRef](d)
		r.image = &image
	case protocol.KindChartRef:
		var chart protocol.ChartRef
		chart, err = protocol.Decode[protocol.ChartRef](d)
		r.chart = &chart
	default:
		return nil
	}
	if s.byApp[d.Metadata.Name] == nil {
		s.byApp[d.Metadata.Name] = r
		s.order = append(s.order, d.Metadata.Name)
	}
	return err
}

// published looks up the app's version in the registries.
func (t Tools) published(ctx context.Context, topology protocol.Topology, app protocol.AppSpec) (release, error) {
	images, charts := topology.OCIRegistry, topology.HelmRegistry
	if images == nil || charts == nil || images.URL == "" || charts.URL == "" {
		return release{}, protocol.Unsupported("topology %q keeps no published charts to compare with", topology.Name).
			WithHint("pipe in the documents: harmony build %[1]s | harmony publish | harmony diff", app.Name)
	}
	if app.Chart.PinImages {
		chart, err := t.pinned(ctx, topology, app)
		return release{app: app, image: &protocol.ImageRef{Metadata: app.Metadata}, chart: &chart}, err
	}
	chartName, err := chartName(app)
	if err != nil {
		return release{}, err
	}
	image, err := publishedImages(ctx, *images, app)
	if err != nil {
		return release{}, err
	}
	version := cmp.Or(app.Chart.Version, app.Version)
	chart, err := lookup(ctx, *charts, chartName, version, app)
	if err != nil {
		return release{}, err
	}
	return release{app: app, image: &image, chart: &protocol.ChartRef{
		Metadata: app.Metadata, URL: "oci://" + chart.Registry + "/" + chart.Repository, Chart: chartName, ChartVersion: version,
		Digest: chart.Digest, Image: app.Chart.ImagePlaces(), Images: places(app), Insecure: charts.Insecure,
	}}, nil
}

// places are those of the further images, as far as the app names them.
func places(app protocol.AppSpec) map[string]protocol.ImagePlaces {
	all := map[string]protocol.ImagePlaces{}
	for name, further := range app.Images {
		all[name] = further.Chart
	}
	return all
}

// publishedImages are the app's images of its version.
func publishedImages(ctx context.Context, registry protocol.Provider, app protocol.AppSpec) (protocol.ImageRef, error) {
	image, err := publishedImage(ctx, registry, app)
	for _, name := range app.ImageNames() {
		if err != nil {
			break
		}
		var further protocol.ImageRef
		further, err = publishedImage(ctx, registry, app.ForImage(name))
		further.Metadata = app.Metadata
		if image.Images == nil {
			image.Images = map[string]protocol.ImageRef{}
		}
		image.Images[name] = further
	}
	return image, err
}

// publishedImage is the app's image of its version. For one that stays where it is, image.ref
// tells which.
func publishedImage(ctx context.Context, registry protocol.Provider, app protocol.AppSpec) (protocol.ImageRef, error) {
	switch {
	case app.Image.IsNone():
		return protocol.ImageRef{Metadata: app.Metadata}, nil
	case !app.Image.Stays():
		return lookup(ctx, registry, app.Repository(), app.Version, app)
	}
	image, err := app.Image.Existing()
	if err != nil {
		return image, protocol.Invalid("app %q: %s.ref: %w", app.Name, app.ImageField(), err)
	}
	image.Metadata, image.Location = app.Metadata, protocol.InRegistry
	if image.Digest != "" {
		return image, nil
	}
	ref, err := name.NewTag(image.String())
	if err != nil {
		return image, protocol.Invalid("app %q: %w", app.Name, err)
	}
	found, err := remote.Head(ref, auth.Options(ctx, ref, false)...)
	if err != nil {
		return image, fmt.Errorf("look up %s: %w", ref, auth.Classify(err))
	}
	image.Digest = found.Digest.String()
	return image, nil
}

// lookup asks a registry for the digest of a version of the app's image or chart.
func lookup(ctx context.Context, registry protocol.Provider, repository, version string, app protocol.AppSpec) (protocol.ImageRef, error) {
	tag := strings.ReplaceAll(version, "+", "_")
	where := registry.URL + "/" + repository
	ref, err := name.NewTag(where+":"+tag, auth.Naming(registry.Insecure)...)
	if err != nil {
		return protocol.ImageRef{}, protocol.Invalid("app %q: %w", app.Name, err)
	}
	found, err := remote.Head(ref, auth.Options(ctx, ref, registry.Insecure)...)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return protocol.ImageRef{}, protocol.Invalid("app %q: version %s is not published as %s", app.Name, version, ref).
			WithHint("publish it, name another --version, or pipe in the documents: harmony build %s | harmony publish | harmony diff", app.Name)
	}
	if err != nil {
		return protocol.ImageRef{}, protocol.Retryable("look up %s: %w", ref, err)
	}
	host, path, _ := strings.Cut(where, "/")
	return protocol.ImageRef{
		Metadata: app.Metadata, Registry: host, Repository: path, Tag: tag, Digest: found.Digest.String(),
		Location: protocol.InRegistry, Insecure: registry.Insecure,
	}, nil
}

// chartName is the name that publish gives to the app's chart.
func chartName(app protocol.AppSpec) (string, error) {
	switch {
	case app.Chart.URL != "":
		return app.Chart.PublishedName(), nil
	case app.Chart.Path == "":
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
