package protocol

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// FeatureImages is the feature of a plugin that takes apps with several images:
// it builds, publishes or deploys all of [AppSpec.Images], and proves each of them.
const FeatureImages = "images"

// AppImage is a further image of an app, such as that of a second component or of
// a job that migrates a database.
type AppImage struct {
	// ImageSource is where the image comes from.
	ImageSource
	// Chart tells where the values of the chart take this image. When it is empty, the
	// place is found when the chart is packaged, as for the app's own image: of the
	// places that work, it is the one with a key of the image's name, or the only one
	// that is left.
	Chart ImagePlaces `json:"chart,omitzero"`
}

// ImageNames are the names of the further images, in order.
func (a AppSpec) ImageNames() []string { return slices.Sorted(maps.Keys(a.Images)) }

// Repository is the path of the app's image under the registry's prefix.
func (a AppSpec) Repository() string { return cmp.Or(a.Image.Repository, a.Name) }

// imageMark is between the names of an app and of its further image. No name has
// it, and it is allowed in the name of a file.
const imageMark = "."

// ForImage is the app as whoever builds or publishes one of its further images
// takes it: an app with that image alone. It is called APP.IMAGE, which no app is.
func (a AppSpec) ForImage(name string) AppSpec {
	image := a.Images[name].ImageSource
	if image.Repository == "" && !image.Stays() {
		image.Repository = a.Repository() + "-" + name
	}
	a.Name += imageMark + name
	a.Image, a.Images = image, nil
	return a
}

// ForEachImage are the app with its own image alone, and that of each further image.
func (a AppSpec) ForEachImage() []AppSpec {
	own := a
	own.Images = nil
	all := []AppSpec{own}
	for _, name := range a.ImageNames() {
		all = append(all, a.ForImage(name))
	}
	return all
}

// SplitImage are the names of the app and the further image that [AppSpec.ForImage]
// has made one of; the image is empty for the name of an app.
func SplitImage(name string) (app, image string) {
	app, image, _ = strings.Cut(name, imageMark)
	return app, image
}

// ImageField is where the app's image is in harmony.yaml: spec.image, or
// spec.images.NAME for an app of [AppSpec.ForImage].
func (a AppSpec) ImageField() string {
	if _, image := SplitImage(a.Name); image != "" {
		return "spec.images." + image
	}
	return "spec.image"
}

// CheckImages fails, with status [ExitUnsupported], for an ImageRef or a ChartRef
// without one of the app's further images: the stage that made it has passed over
// them.
func (a AppSpec) CheckImages(kind Kind, has func(name string) bool) error {
	for _, name := range a.ImageNames() {
		if !has(name) {
			return Unsupported("the %s of %s has no image %q: the stage that made it does not know spec.images", kind, a.Name, name).
				WithHint("use a plugin for that stage whose describe lists the feature %s", FeatureImages)
		}
	}
	return nil
}

// CheckApp fails, with status [ExitUnsupported], for an app with several images, or with
// several places for one, if the plugin has to do with images and does not have
// [FeatureImages] or [FeatureImagePlaces]; and for one with a kind of check that is not
// built in, if it is a smoke stage without [FeatureChecks].
func (i PluginInfo) CheckApp(app AppSpec) error {
	lacks := func(feature, has, field string) error {
		return Unsupported("app %q has %s, and plugin harmony-%s %s for stage %s does not know %s", app.Name, has, i.Name, i.Version, i.Stage, field).
			WithHint("update the plugin: its describe must list the feature %s", feature)
	}
	if err := i.checkChecks(app); err != nil || !i.takesImages() {
		return err
	}
	if len(app.Images) > 0 && !slices.Contains(i.Features, FeatureImages) {
		return lacks(FeatureImages, "several images", "spec.images")
	}
	if field := app.severalPlaces(); field != "" && !slices.Contains(i.Features, FeatureImagePlaces) {
		return lacks(FeatureImagePlaces, "one image in several places of its chart", "a list in "+field)
	}
	return nil
}

// takesImages reports a plugin that makes images or charts, or is given them.
func (i PluginInfo) takesImages() bool {
	for _, kind := range []Kind{KindImageRef, KindChartRef} {
		if i.Stage != "" && (slices.Contains(i.Consumes, kind) || slices.Contains(i.Produces, kind)) {
			return true
		}
	}
	return slices.Contains([]string{"build", "publish", "deploy"}, i.Stage)
}

// All are the image and its further images, in the order of their names.
func (r ImageRef) All() []ImageRef {
	all := []ImageRef{r}
	for _, name := range slices.Sorted(maps.Keys(r.Images)) {
		further := r.Images[name]
		further.Metadata = r.Metadata
		all = append(all, further)
	}
	return all
}

// AllUnchanged reports that there was nothing to build or push, of the further
// images neither.
func (r ImageRef) AllUnchanged() bool {
	return !slices.ContainsFunc(r.All(), func(image ImageRef) bool { return !image.Unchanged })
}

// AllPinned reports that all digests are known, those of the further images too. An app
// without an image has none to know.
func (r ImageRef) AllPinned() bool {
	return r.IsNone() || !slices.ContainsFunc(r.All(), func(image ImageRef) bool { return image.Digest == "" })
}

// ImageDigests are the digests of the further images, by name; nil when there are
// none.
func (r ImageRef) ImageDigests() map[string]string {
	if len(r.Images) == 0 {
		return nil
	}
	digests := map[string]string{}
	for name, image := range r.Images {
		digests[name] = image.Digest
	}
	return digests
}

// validateImages checks the further images of an app.
func (a AppSpec) validateImages(p *problems) {
	p.must(len(a.Images) == 0 || a.Chart.Workload == nil, "spec.images", "is for a chart of the app's own, with a place for each image; the one that is generated for chart.workload runs spec.image alone")
	repositories := map[string]string{a.stored(): "spec.image"}
	for _, name := range a.ImageNames() {
		image, field := a.Images[name], "spec.images."+name
		p.name(field, "an image's", name)
		image.ImageSource.validate(p, field)
		image.Chart.validate(p, field+".chart", a.Chart.Path == "" && (a.Chart.Builder != nil || a.Chart.Workload != nil))
		stored := a.ForImage(name).stored()
		other := repositories[stored]
		p.must(other == "", field+".repository", "%q is also the repository of %s; each image has one of its own", stored, other)
		repositories[stored] = field
	}
	a.validatePlaces(p)
}

// stored is the repository that the image runs from: two images of one repository
// could not be told apart.
func (a AppSpec) stored() string {
	if !a.Image.Stays() {
		return a.Repository()
	}
	ref, _ := a.Image.Existing() // what is wrong with it is told elsewhere
	return ref.FullName()
}

// validatePlaces refuses two images, or two places of one, for one value of the chart.
func (a AppSpec) validatePlaces(p *problems) {
	taken := map[string]string{}
	take := func(at string, places ImagePlaces) {
		for i, c := range places {
			field := places.field(at, i)
			for _, path := range []string{c.Value, c.Repository, c.Tag, c.Digest} {
				if path == "" {
					continue
				}
				other, is := taken[path]
				p.must(!is, field, "%s is taken by %s already; each image goes into values of its own", path, other)
				taken[path] = field
			}
		}
	}
	take("spec.chart.image", a.Chart.Image)
	for _, name := range a.ImageNames() {
		take("spec.images."+name+".chart", a.Images[name].Chart)
	}
}
