package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/pkg/protocol"
)

// charts measures how a chart of a new version gets into the registry. Ours
// writes the image's digest into its values too, and gives the image, which is
// there, the version's tag.
func (t *pushers) charts(ctx context.Context) ([]row, error) {
	chart := t.bench.path("chart", "fleet-callout")
	if err := os.CopyFS(chart, os.DirFS("examples/fleet/charts/callout")); err != nil {
		return nil, err
	}
	image, err := newPushed(t.bench.path("push-chart"), 1, 1<<20)
	if err != nil {
		return nil, err
	}
	digest, err := image.image.Digest()
	if err != nil {
		return nil, err
	}
	documents, versions := t.bench.path("chart.ndjson"), 0
	ours := command{
		name: "harmony publish", argv: []string{"harmony", "publish"}, stdin: documents,
		dir: t.bench.folder, env: []string{"XDG_CACHE_HOME=" + t.bench.path("push-cache")},
	}
	ref := protocol.ImageRef{Repository: "image", Digest: digest.String(), Location: protocol.InLayout, Path: image.layout()}
	registry := protocol.Provider{Adapter: "oci", URL: t.registry.host + "/charts"}
	ours.before = func(context.Context) error {
		versions++
		return t.documents(documents, fmt.Sprintf("1.%d.0", versions), registry, ref)
	}
	script := t.bench.path("helm.sh")
	helm := command{name: "helm package && helm push", argv: []string{"sh", "-e", script}, dir: t.bench.folder}
	helm.before = func(context.Context) error {
		versions++
		const text = "helm package %s --version 1.%d.0 --app-version 1.%[2]d.0\nhelm push fleet-callout-1.%[2]d.0.tgz oci://%s/by-helm --plain-http\n"
		return os.WriteFile(script, fmt.Appendf(nil, text, chart, versions, t.registry.host), 0o644)
	}
	times, err := interleave(ctx, t.bench.rounds(20), ours, helm)
	if err != nil {
		return nil, err
	}
	return compare("publish a chart of a new version", times[0], budget{ratio: 1}, []string{helm.name}, times[1:]), nil
}

// documents writes what harmony publish reads.
func (t *pushers) documents(file, version string, charts protocol.Provider, image protocol.ImageRef) error {
	id := protocol.Metadata{Name: "bench", Version: version}
	image.Metadata = id
	chart, err := filepath.Abs("examples/fleet/charts/callout")
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	w := protocol.NewWriter(out)
	return errors.Join(
		w.WriteSpec(protocol.Topology{
			Metadata:    protocol.Metadata{Name: "bench"},
			OCIRegistry: &protocol.Provider{Adapter: "oci", URL: t.registry.host}, HelmRegistry: &charts,
		}),
		w.WriteSpec(protocol.AppSpec{
			Metadata: id, ProjectRoot: filepath.Dir(chart),
			Image: protocol.ImageSource{Repository: image.Repository, Dockerfile: &protocol.Dockerfile{Path: "Dockerfile"}},
			Chart: protocol.ChartSource{Path: filepath.Base(chart), Image: protocol.ImagePlaces{{Value: "image"}}},
		}),
		w.WriteSpec(image),
		out.Close(),
	)
}
