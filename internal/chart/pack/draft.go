package pack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/Masterminds/semver/v3"
	helmchart "helm.sh/helm/v3/pkg/chart"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/pkg/protocol"
)

// unknownDigest stands for a digest that only the build will tell: a plan renders
// the chart as the release will.
const unknownDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// packing is a chart on its way into an archive.
type packing struct {
	app protocol.AppSpec
	// image is the one that is placed: the app's own, or the further one of that name.
	image   protocol.ImageRef
	further string
	// others are images whose places are known, and other places of this one.
	others []placed
	name   string // how errors call the chart
	// files have the release in Chart.yaml, and the image is not in values.yaml yet.
	files    tree
	metadata *helmchart.Metadata
	variants []variant
	// checked is what rendering a chart of others told.
	checked draft
}

// draft is a chart with the image in one of its places, and what rendering it told.
type draft struct {
	files  tree
	image  protocol.ImagePlaces
	images map[string]protocol.ImagePlaces // of the further images
	bare   bool                            // see placed
	verdict
}

// identify writes the release into Chart.yaml.
func (p *packing) identify(files tree) error {
	p.files = maps.Clone(files)
	if _, ok := files[chartFile]; !ok {
		return protocol.Invalid("%s is missing", chartFile).WithHint("spec.chart.path is the folder of a Helm chart")
	}
	if err := checkIdentity(files[chartFile]); err != nil {
		return protocol.Invalid("%w", err)
	}
	if _, err := semver.StrictNewVersion(p.app.Version); err != nil {
		return protocol.Invalid("version %q of %s is invalid: %w", p.app.Version, p.app.Name, err)
	}
	settings := []setting{{"version", p.app.Version}}
	if !p.image.IsNone() { // else its appVersion may be the tag of an image of others
		settings = append(settings, setting{"appVersion", p.app.Version})
	}
	return p.files.set(chartFile, settings)
}

// draft is the chart with the images at the places, or where they are found to go.
func (p *packing) draft(ctx context.Context, source Source) (draft, error) {
	images := p.images(source)
	p.others = images[1:]
	files, err := p.with(images[0])
	if err == nil && slices.ContainsFunc(images, p.isSearched) {
		err = maps.Clone(files).set(valuesFile, nil) // finds what is wrong in it
	}
	if err != nil {
		return draft{}, fmt.Errorf("chart %s: %w", p.name, err)
	}
	loaded, err := load(files)
	if err != nil {
		return draft{}, fmt.Errorf("chart %s: %w", p.name, err)
	}
	p.metadata = loaded.Metadata
	if p.variants, err = variants(p.app); err != nil {
		return draft{}, protocol.Invalid("chart %s: %w", p.name, err)
	}
	if p.others = nil; len(images) > 1 {
		return p.several(ctx, images)
	}
	return p.place(ctx, images[0].places)
}

// isSearched reports an image whose place is to be found.
func (p *packing) isSearched(one placed) bool {
	return one.places == (protocol.ChartImage{}) && p.app.Chart.Path != "" && !p.image.IsNone()
}

// place is the chart with the image at the places, or where it is found to go.
func (p *packing) place(ctx context.Context, places protocol.ChartImage) (draft, error) {
	if p.isSearched(placed{places: places}) {
		return p.find(ctx)
	}
	made, err := p.try(ctx, places)
	if err != nil && places.Tag != "" && places.Digest == "" {
		return p.beside(ctx, places, err)
	}
	return made, err
}

// with is the chart's files with an image at its places, and the others at theirs.
func (p *packing) with(image placed) (tree, error) {
	var settings []setting
	for _, one := range append(slices.Clone(p.others), image) {
		settings = append(settings, one.settings(p.app.Version)...)
	}
	files := maps.Clone(p.files)
	if len(settings) == 0 {
		return files, nil
	}
	return files, files.set(valuesFile, settings)
}

// try renders the chart with the image at the places. An error tells why a deploy
// would fail. A value that takes the digest gets it with sha256: in front, or without
// if the templates write that themselves.
func (p *packing) try(ctx context.Context, places protocol.ChartImage) (draft, error) {
	one := placed{name: p.further, image: p.image, places: places}
	made, err := p.tryOne(ctx, one)
	_, unused := errors.AsType[file.UnusedError](err)
	if places.Digest == "" || !unused || p.image.Digest == "" || ctx.Err() != nil {
		return made, err
	}
	one.bare = true
	if bare, bareErr := p.tryOne(ctx, one); bareErr == nil && bare.proven > 0 {
		return bare, nil
	}
	return made, err
}

// tryOne is try with the digest written in one way.
func (p *packing) tryOne(ctx context.Context, one placed) (draft, error) {
	files, err := p.with(one)
	if err != nil {
		return draft{}, fmt.Errorf("chart %s: %w", p.name, err)
	}
	made := draft{files: files, image: one.named(), images: map[string]protocol.ImagePlaces{}, bare: one.bare}
	for _, other := range p.others {
		switch {
		case other.name != one.name:
			made.images[other.name] = append(made.images[other.name], other.named()...)
		case !other.aside:
			made.image = append(made.image, other.places)
		}
	}
	made.verdict, err = p.checkRendered(ctx, Source{Name: p.name, Files: files, Image: made.image, Images: made.images})
	switch {
	case err != nil && ctx.Err() != nil:
		return made, fmt.Errorf("check chart %s: %w", p.name, err)
	case err != nil:
		return made, protocol.Invalid("chart %s: %w", p.name, err)
	}
	return made, nil
}
