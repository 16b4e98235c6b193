package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// FeatureImagePlaces is the feature of a plugin that takes apps with one image in
// several places of the chart: it sets all of [ImagePlaces], or leaves them set.
const FeatureImagePlaces = "image-places"

// ImagePlaces are the places in a chart's values that take one image: usually one, and
// several where several components of the chart run it. None is an empty object in JSON,
// one an object, and several are a list of objects.
type ImagePlaces []ChartImage

// IsZero reports that no place is named.
func (p ImagePlaces) IsZero() bool { return len(p) == 0 }

// MarshalJSON implements [json.Marshaler].
func (p ImagePlaces) MarshalJSON() ([]byte, error) {
	switch len(p) {
	case 0:
		return []byte("{}"), nil
	case 1:
		return json.Marshal(p[0])
	}
	return json.Marshal([]ChartImage(p))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (p *ImagePlaces) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		var several []ChartImage
		err := unmarshal(text, &several)
		*p = several
		return err
	}
	var one ChartImage
	err := unmarshal(text, &one)
	if *p = nil; one != (ChartImage{}) {
		*p = ImagePlaces{one}
	}
	return err
}

// Places says for people where in the values the image is, such as
// .Values.web.image, .Values.worker.image.
func (p ImagePlaces) Places() string {
	if len(p) == 0 {
		return ChartImage{}.Places()
	}
	texts := make([]string, len(p))
	for i, place := range p {
		texts[i] = place.Places()
	}
	return strings.Join(texts, ", ")
}

// String prints the places as harmony.yaml has them: {value: image}, or
// [{value: web.image}, {value: worker.image}].
func (p ImagePlaces) String() string {
	switch len(p) {
	case 0:
		return ChartImage{}.String()
	case 1:
		return p[0].String()
	}
	texts := make([]string, len(p))
	for i, place := range p {
		texts[i] = place.String()
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// field is where the place of that index is, at the field of all of them.
func (p ImagePlaces) field(at string, i int) string {
	if len(p) == 1 {
		return at
	}
	return fmt.Sprintf("%s[%d]", at, i)
}

// validate checks places; made says that the chart is one that knows them itself.
func (p ImagePlaces) validate(found *problems, at string, made bool) {
	if made && len(p) > 0 {
		found.add(at, "is for path only: other charts know where the image goes")
		return
	}
	for i, place := range p {
		place.validate(found, p.field(at, i))
	}
}

// severalPlaces returns the first field that lists several places for one image, or "".
func (a AppSpec) severalPlaces() string {
	if len(a.Chart.Image) > 1 {
		return "spec.chart.image"
	}
	for _, name := range a.ImageNames() {
		if len(a.Images[name].Chart) > 1 {
			return "spec.images." + name + ".chart"
		}
	}
	return ""
}

// CheckPlaces fails, with status [ExitUnsupported], for a ChartRef without one of several
// places that the app names for an image: the stage that made it has passed over them.
func (a AppSpec) CheckPlaces(ref ChartRef) error {
	check := func(field string, named, set ImagePlaces) error {
		lacks := func(place ChartImage) bool { return !set.has(place) }
		if i := slices.IndexFunc(named, lacks); len(named) > 1 && i >= 0 {
			return Unsupported("the ChartRef of %s does not have the image in %s, which %s names: the stage that made it does not know several places", a.Name, named[i].Places(), field).
				WithHint("use a plugin for that stage whose describe lists the feature %s", FeatureImagePlaces)
		}
		return nil
	}
	if err := check("spec.chart.image", a.Chart.Image, ref.Image); err != nil {
		return err
	}
	for _, name := range a.ImageNames() {
		if err := check("spec.images."+name+".chart", a.Images[name].Chart, ref.Images[name]); err != nil {
			return err
		}
	}
	return nil
}

// has reports the place among others. The chart may have the digest next to the tag
// where only the tag is named.
func (p ImagePlaces) has(place ChartImage) bool {
	return slices.ContainsFunc(p, func(other ChartImage) bool {
		return place.Value == other.Value && place.Repository == other.Repository && place.Tag == other.Tag
	})
}
