package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/pkg/protocol"
)

// LooseImages lists the images that the containers of a published chart take without a
// digest, with its own values and with those of each target of the app, sorted.
func LooseImages(ctx context.Context, app protocol.AppSpec, archive []byte) ([]string, error) {
	p, err := published(ctx, app, archive)
	if err != nil {
		return nil, err
	}
	uses, err := p.loose(ctx, p.files, nil)
	if err != nil {
		return nil, protocol.Invalid("chart %s: %w", p.name, err)
	}
	return references(uses), nil
}

// CheckPins fails unless all images of a published chart can be pinned to the digests,
// by reference. It tells the images that are not pinned then, because the chart passes
// them on in arguments or variables.
func CheckPins(ctx context.Context, app protocol.AppSpec, archive []byte, digests map[string]string) ([]string, error) {
	p, err := published(ctx, app, archive)
	if err != nil {
		return nil, err
	}
	if err := p.pin(ctx, digests); err != nil {
		return nil, err
	}
	return p.passedOn(ctx)
}

// passedOn tells the images that containers are told of without a digest.
func (p *packing) passedOn(ctx context.Context) ([]string, error) {
	var all []string
	err := p.eachRendered(ctx, p.files, func(_ variant, rendered file.Rendered) error {
		for _, passed := range rendered.PassedOn() {
			if text := "not pinned: " + passed.String(); !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
		return nil
	})
	return all, err
}

// published is a chart of others, after a check of what it renders.
func published(ctx context.Context, app protocol.AppSpec, archive []byte) (*packing, error) {
	files, err := unpackPublished(app.Chart, archive)
	if err != nil {
		return nil, err
	}
	p := &packing{app: app, name: app.Chart.PublishedName() + " " + app.Chart.Version, files: files}
	p.checked, err = p.draft(ctx, Source{})
	return p, err
}

// references are those of the uses, each once and sorted.
func references(uses []file.Use) []string {
	all := map[string]bool{}
	for _, use := range uses {
		all[use.Image] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// loose lists every use of an image without a digest that the files render to, with
// each set of values. When digests is not nil, another digest than those is an error.
func (p *packing) loose(ctx context.Context, files tree, digests map[string]bool) ([]file.Use, error) {
	var all []file.Use
	err := p.eachRendered(ctx, files, func(v variant, rendered file.Rendered) error {
		if err := checkObjects(rendered); err != nil {
			return err
		}
		for _, use := range rendered.Images() {
			image, err := protocol.ParseImageRef(use.Image)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", use, err)
			case image.Digest == "":
				use.Object += " with " + v.name
				all = append(all, use)
			case digests != nil && !digests[image.Digest]:
				return errors.New(use.String())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// eachRendered renders the files with each set of values.
func (p *packing) eachRendered(ctx context.Context, files tree, do func(variant, file.Rendered) error) error {
	for i, v := range p.variants {
		rendered, err := renderVariant(p.app, files, v, &boundedEngine{ctx: ctx})
		if _, missing := errors.AsType[file.MissingError](err); missing && i == 0 && len(p.variants) > 1 {
			continue // the targets give what the defaults leave open
		}
		if err == nil {
			err = do(v, rendered)
		}
		if err != nil {
			return fmt.Errorf("with %s: %w", v.name, err)
		}
	}
	return nil
}

// pin writes the digest of each image, by reference, into the values that the image
// comes from: one place after the other, and each only if rendering shows that fewer
// images are without a digest then.
func (p *packing) pin(ctx context.Context, digests map[string]string) error {
	limited, cancel := context.WithTimeoutCause(ctx, pinTime, fmt.Errorf("the images were not pinned within %s", pinTime))
	defer cancel()
	left, err := p.loose(limited, p.files, nil)
	if err != nil {
		return protocol.Invalid("chart %s: %w", p.name, err)
	}
	for _, use := range left {
		if digests[use.Image] == "" {
			return protocol.Invalid("chart %s: harmony.lock does not have the image %s", p.name, use).WithHint("run harmony lock, and commit harmony.lock")
		}
	}
	places, err := p.pinPlaces(references(left), digests)
	if err != nil {
		return protocol.Invalid("chart %s: %w", p.name, err)
	}
	known := p.knownDigests(limited, digests)
	for _, ways := range places {
		for _, settings := range ways {
			if len(left) == 0 {
				return nil
			}
			files := maps.Clone(p.files)
			if files.set(valuesFile, settings) != nil {
				continue
			}
			fewer, err := p.loose(limited, files, known)
			if limited.Err() != nil {
				return fmt.Errorf("chart %s: %w", p.name, context.Cause(limited))
			}
			if err == nil && len(fewer) < len(left) {
				p.files, left = files, fewer
				break
			}
		}
	}
	return p.unpinned(left, digests)
}

// unpinned is the error for images that no value of the chart pins; nil for none.
func (p *packing) unpinned(left []file.Use, digests map[string]string) error {
	if len(left) == 0 {
		return nil
	}
	lines := make([]string, len(left))
	for i, use := range left {
		lines[i] = use.String()
	}
	first := left[0].Image
	return protocol.Invalid("chart %s: pinImages: no value of the chart takes the digest of\n%s", p.name, strings.Join(short(lines), "\n")).
		WithHint("if values of a target name it, write the digest there: %s@%s; else leave out pinImages", first, digests[first])
}

// knownDigests are those that images may have: the locked ones, and those that the
// chart has itself.
func (p *packing) knownDigests(ctx context.Context, digests map[string]string) map[string]bool {
	known := map[string]bool{}
	for _, digest := range digests {
		known[digest] = true
	}
	for _, v := range p.variants {
		rendered, err := renderVariant(p.app, p.files, v, &boundedEngine{ctx: ctx})
		if err != nil {
			continue // it was checked before
		}
		for _, use := range rendered.Images() {
			if image, err := protocol.ParseImageRef(use.Image); err == nil && image.Digest != "" {
				known[image.Digest] = true
			}
		}
	}
	return known
}

// pinPlaces lists, for each place of the values that looks like one of the images, what
// could be set there.
func (p *packing) pinPlaces(images []string, digests map[string]string) ([][][]setting, error) {
	all, err := p.candidates()
	if err != nil {
		return nil, err
	}
	merged, err := p.merged()
	if err != nil {
		return nil, err
	}
	var places [][][]setting
	for _, c := range all {
		for _, image := range images {
			var ways [][]setting
			for _, way := range c.ways {
				for _, values := range merged {
					if settings := pinned(way, values, image, digests[image]); settings != nil && !containsSettings(ways, settings) {
						ways = append(ways, settings)
					}
				}
			}
			if len(ways) > 0 {
				places = append(places, ways)
			}
		}
	}
	return places, nil
}

func containsSettings(all [][]setting, one []setting) bool {
	return slices.ContainsFunc(all, func(other []setting) bool { return slices.Equal(other, one) })
}

// pinned is what pins the image where the values name it so; nil where they do not.
func pinned(way protocol.ChartImage, values chartutil.Values, image, digest string) []setting {
	text := func(path string) string {
		value := any(nil)
		if path != "" {
			value = lookup(values, strings.Split(path, ".")...)
		}
		if value == nil {
			return ""
		}
		return fmt.Sprint(value)
	}
	if way.Value != "" {
		if text(way.Value) != image {
			return nil
		}
		return []setting{{way.Value, image + "@" + digest}}
	}
	ref, err := protocol.ParseImageRef(image)
	repository, tag := text(way.Repository), text(way.Tag)
	if err != nil || repository == "" || !strings.HasSuffix("/"+ref.FullName(), "/"+repository) || tag != "" && tag != ref.Tag {
		return nil
	}
	if way.Digest != "" {
		return []setting{{way.Digest, digest}}
	}
	return []setting{{way.Tag, cmp.Or(ref.Tag, "latest") + "@" + digest}}
}

// pinTitle is part of the tag of a chart with pinned images: of its content, for the
// chart's version alone does not tell it.
func pinTitle(version, digest string) string {
	return protocol.TagOf(version) + "_" + strings.TrimPrefix(digest, "sha256:")[:12]
}
