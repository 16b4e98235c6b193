package pack

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/pkg/protocol"
)

// placed is an image, the app's own or the further one of that name, and one place
// where it goes.
type placed struct {
	name   string
	image  protocol.ImageRef
	places protocol.ChartImage
	// bare is true when the templates write the sha256: of the digest.
	bare bool
	// aside is true for another place of the image that is to be proven: it gets
	// something else, so that containers do not take the image from there.
	aside bool
}

// named is the place, or none.
func (one placed) named() protocol.ImagePlaces {
	if one.places == (protocol.ChartImage{}) {
		return nil
	}
	return protocol.ImagePlaces{one.places}
}

// inEach is an image in each of its places, or in none yet.
func inEach(name string, image protocol.ImageRef, places protocol.ImagePlaces) []placed {
	if len(places) == 0 {
		return []placed{{name: name, image: image}}
	}
	all := make([]placed, len(places))
	for i, place := range places {
		all[i] = placed{name: name, image: image, places: place}
	}
	return all
}

// settings are the values that the image gives its places.
func (one placed) settings(version string) []setting {
	if one.aside {
		one.image.Tag, one.image.Digest = protocol.TagOf(version)+file.OtherPlaceTag, file.OtherPlaceDigest
	}
	repository, tag, digest := one.image.FullName(), one.image.Tag, one.image.Digest
	if one.places.Registry != "" {
		repository = one.image.Repository
	}
	if one.places.Digest == "" && digest != "" && !one.aside { // else labels made of the tag are those of this place
		tag = cmp.Or(tag, protocol.TagOf(version)) + "@" + one.image.Digest
	}
	if one.bare {
		digest = strings.TrimPrefix(digest, "sha256:")
	}
	return slices.DeleteFunc([]setting{
		{one.places.Value, one.image.String()},
		{one.places.Registry, one.image.Registry},
		{one.places.Repository, repository},
		{one.places.Tag, tag},
		{one.places.Digest, digest},
	}, func(s setting) bool { return s.path == "" })
}

// foreseen is an image as it will be, with digests in place of those that are not
// known yet.
func foreseen(image protocol.ImageRef) protocol.ImageRef {
	image.Digest = cmp.Or(image.Digest, unknownDigest)
	image.Images = maps.Clone(image.Images)
	for name, further := range image.Images {
		image.Images[name] = foreseen(further)
	}
	return image
}

// images are the app's own image, first, and the further ones, in each of their places.
func (p *packing) images(source Source) []placed {
	all := inEach("", p.image, source.Image)
	for _, name := range p.app.ImageNames() {
		all = append(all, inEach(name, p.image.Images[name], source.Images[name])...)
	}
	return all
}

// several is the chart with all images. Each is placed as if it were the only one, in each
// of its places, beside those whose places are named; then all of them are, and proven
// together.
func (p *packing) several(ctx context.Context, images []placed) (draft, error) {
	for i := range images {
		if p.isSearched(images[i]) {
			continue
		}
		one := p.only(images, i)
		made, err := one.place(ctx, images[i].places)
		if err != nil {
			return draft{}, err
		}
		images[i].places, images[i].bare = made.place(), made.bare
	}
	if err := p.search(ctx, images); err != nil {
		return draft{}, err
	}
	all := *p
	all.others = images[1:]
	return all.try(ctx, images[0].places)
}

// place is that of a chart with the image in one.
func (made draft) place() protocol.ChartImage {
	if len(made.image) == 0 {
		return protocol.ChartImage{}
	}
	return made.image[0]
}

// only is the packing of one of the images in one place, with those of the others that
// have their places.
func (p *packing) only(images []placed, i int) *packing {
	one := *p
	one.image, one.further, one.others = images[i].image, images[i].name, nil
	one.image.Images = nil
	for k, other := range images {
		if k == i || other.places == (protocol.ChartImage{}) {
			continue
		}
		other.aside = other.name == one.further
		one.others = append(one.others, other)
	}
	return &one
}

// search finds the places of the images that have none: of those that work, the one
// with a key of the image's name, or the only one that is left.
func (p *packing) search(ctx context.Context, images []placed) error {
	last := len(images) - 1 // a further one, if there is one: hooks count for those
	for last >= 0 && !p.isSearched(images[last]) {
		last--
	}
	if last < 0 {
		return nil
	}
	one := p.only(images, last)
	works, failures, err := one.working(ctx)
	if err != nil {
		return err
	}
	left := placesOf(works)
	var open []int
	for i := range images {
		if !p.isSearched(images[i]) {
			continue
		}
		named := func(c protocol.ChartImage) bool { return images[i].name != "" && hasKey(c, images[i].name) }
		if k := slices.IndexFunc(left, named); k >= 0 && !slices.ContainsFunc(left[k+1:], named) {
			images[i].places = left[k]
			left = slices.Delete(left, k, k+1)
		} else {
			open = append(open, i)
		}
	}
	switch {
	case len(open) == 0:
		return nil
	case len(open) == 1 && len(left) == 1:
		images[open[0]].places = left[0]
		return nil
	}
	if len(works) == 0 {
		return one.none(ctx, failures)
	}
	one = p.only(images, open[0])
	var all protocol.ImagePlaces
	if len(open) == 1 {
		all = one.together(ctx, left)
	}
	return one.unclear(len(open), left, all)
}

// together are the places, if containers take the image from each of them when it is in
// all.
func (p *packing) together(ctx context.Context, places protocol.ImagePlaces) protocol.ImagePlaces {
	limited, cancel := context.WithTimeout(ctx, renderTime)
	defer cancel()
	images := append(inEach(p.further, p.image, places), p.others...)
	for i, place := range places {
		if made, err := p.only(images, i).try(limited, place); err != nil || made.proven == 0 {
			return nil
		}
	}
	return places
}

// unclear is the error for an image, one of several without a place, with the places
// that are left for them; all are those if the image can be in each of them.
func (p *packing) unclear(images int, left []protocol.ChartImage, all protocol.ImagePlaces) error {
	switch len(left) {
	case 0:
		return protocol.Invalid("chart %s: no place in its values is left for %s", p.name, p.subject()).WithHint("%s", p.sayWhere())
	case 1:
		return p.choose(fmt.Sprintf("one place in its values is left for %d images, %s among them", images, p.subject()), left, nil)
	}
	return p.choose(fmt.Sprintf("%d places in its values may take %s", len(left), p.subject()), left, all)
}

// hasKey reports places below a key of that name, in whatever spelling: db-migrate
// is dbMigrate.
func hasKey(c protocol.ChartImage, name string) bool {
	return slices.ContainsFunc(strings.Split(cmp.Or(c.Value, c.Repository), "."), func(key string) bool { return plainName(key) == plainName(name) })
}

func plainName(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
}

// isTaken reports a candidate that is the place of another image.
func (p *packing) isTaken(c candidate) bool {
	return slices.ContainsFunc(p.others, func(other placed) bool {
		return slices.ContainsFunc(c.ways, func(way protocol.ChartImage) bool {
			return way.Value != "" && way.Value == other.places.Value || way.Repository != "" && way.Repository == other.places.Repository
		})
	})
}

// uses reports whether the chart uses the image that is placed, and its further
// images.
func (p *packing) uses(rendered file.Rendered, chart string, source Source) error {
	if p.further == "" {
		return rendered.Uses(p.image, protocol.ChartRef{Chart: chart, Image: source.Image, Images: source.Images})
	}
	return rendered.UsesOne(p.further, p.image, protocol.ChartRef{Chart: chart, Images: map[string]protocol.ImagePlaces{p.further: source.Image}})
}

// field is where harmony.yaml names the places of the image: its key, and what that
// is under.
func (p *packing) field() string { return p.under() + "." + p.key() }

func (p *packing) key() string {
	if p.further != "" {
		return "chart"
	}
	return "image"
}

func (p *packing) under() string {
	if p.further != "" {
		return "spec.images." + p.further
	}
	return "spec.chart"
}

// subject is what errors call the image, or its app.
func (p *packing) subject() string {
	if p.further != "" {
		return "image " + p.further
	}
	return "app " + p.app.Name
}

func (p *packing) sayWhere() string {
	return "say in " + p.field() + " where the chart's values take the image"
}
