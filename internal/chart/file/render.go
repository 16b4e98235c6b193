package file

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Rendered is what a chart gives for its values, before anything is applied.
type Rendered struct {
	Objects, Hooks []*unstructured.Unstructured
	// Irreversible names what says that the release before cannot come back, as in
	// protocol.DeployResult.
	Irreversible string
	sources      map[*unstructured.Unstructured]string
	values       map[string]any
}

// What stands for an image in the other places than the one that is to be proven: this
// digest, or a tag that ends like this.
const (
	OtherPlaceDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	OtherPlaceTag    = "-other-place"
)

// Source is the template that gave the object, within the chart's folder.
func (r Rendered) Source(object *unstructured.Unstructured) string { return r.sources[object] }

// Engine runs the templates of a chart: Helm's engine.Engine, or a wrapper.
type Engine interface {
	Render(*chart.Chart, chartutil.Values) (map[string]string, error)
}

// Render renders the chart as Helm does. It changes the chart, which cannot be
// used afterwards.
func Render(e Engine, ch *chart.Chart, values map[string]any, options chartutil.ReleaseOptions, caps *chartutil.Capabilities) (Rendered, error) {
	if err := chartutil.ProcessDependenciesWithMerge(ch, values); err != nil {
		return Rendered{}, err
	}
	// Helm's own validation would open what a schema refers to.
	input, err := chartutil.ToRenderValuesWithSchemaValidation(ch, values, options, caps, true)
	if err != nil {
		return Rendered{}, err
	}
	merged, err := input.Table("Values")
	if err != nil {
		return Rendered{}, err
	}
	compiled := schemas{}
	if err := compiled.compile(ch); err != nil {
		return Rendered{}, err
	}
	if err := compiled.validate(ch, merged); err != nil {
		return Rendered{}, err
	}
	files, err := e.Render(ch, input)
	if err != nil {
		return Rendered{}, err
	}
	described, err := manifest.Files(files)
	if err != nil {
		return Rendered{}, locate(files, err)
	}
	r := Rendered{sources: map[*unstructured.Unstructured]string{}, values: merged}
	for _, file := range described {
		for _, object := range file.Objects {
			r.sources[object] = inFolder(file.Name)
			if object.GetAnnotations()[release.HookAnnotation] != "" {
				r.Hooks = append(r.Hooks, object)
			} else {
				r.Objects = append(r.Objects, object)
			}
		}
	}
	r.Irreversible = Irreversible(ch, slices.Concat(r.Objects, r.Hooks))
	return r, nil
}

// Irreversible names the chart, or the first of the objects that it gave, that says by
// [protocol.Irreversible] that the release before cannot come back; "" when none does.
func Irreversible(ch *chart.Chart, objects []*unstructured.Unstructured) string {
	if ch.Metadata != nil && ch.Metadata.Annotations[protocol.Irreversible] == "true" {
		return "chart " + ch.Name()
	}
	for _, dependency := range ch.Dependencies() {
		if found := Irreversible(dependency, nil); found != "" {
			return found
		}
	}
	for _, o := range objects {
		if o.GetAnnotations()[protocol.Irreversible] == "true" {
			return o.GetKind() + " " + o.GetName()
		}
	}
	return ""
}

// inFolder is the name of a template within the chart's folder.
func inFolder(name string) string {
	_, path, _ := strings.Cut(name, "/")
	return path
}

// locate adds the rendered line that an error of the YAML parser means.
func locate(files map[string]string, err error) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		documents := releaseutil.SplitManifests(files[name])
		keys := slices.Collect(maps.Keys(documents))
		sort.Sort(releaseutil.BySplitManifestsOrder(keys))
		for _, key := range keys {
			_, wrong := manifest.Parse(documents[key])
			if wrong == nil || strings.HasSuffix(name, "NOTES.txt") {
				continue
			}
			lines := strings.Split(documents[key], "\n")
			found := regexp.MustCompile(`line (\d+)`).FindStringSubmatch(wrong.Error())
			if found != nil {
				if number, _ := strconv.Atoi(found[1]); number > 0 && number <= len(lines) {
					wrong = fmt.Errorf("%w: %q", wrong, strings.TrimSpace(lines[number-1]))
				}
			}
			return fmt.Errorf("%s renders to invalid YAML: %w", inFolder(name), wrong)
		}
	}
	return err
}

// Use is an image that a container takes.
type Use struct {
	// Image is the reference, Object the one with the container, and Template what
	// rendered it, within the chart's folder.
	Image, Object, Template string
}

// String implements [fmt.Stringer].
func (u Use) String() string { return fmt.Sprintf("%s in %s (%s)", u.Image, u.Object, u.Template) }

// UnusedError reports a chart no container of which takes the image.
type UnusedError struct {
	err error
	// Images are those that its containers take.
	Images []Use
}

func (e UnusedError) Error() string { return e.err.Error() }

// Unwrap returns the error with its status and hint.
func (e UnusedError) Unwrap() error { return e.err }

// Uses fails with an [UnusedError] when no container takes the image by its
// digest, or one of its further images: the chart would deploy something else than
// what was released. Hooks do not count, for they end, but for a further image,
// which may be all that it is for. In a plan the digest may not be known yet.
func (r Rendered) Uses(image protocol.ImageRef, ref protocol.ChartRef) error {
	if err := r.Held(ref); err != nil {
		return err
	}
	if err := r.UsesOne("", image, ref); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(image.Images)) {
		if err := r.UsesOne(name, image.Images[name], ref); err != nil {
			return err
		}
	}
	return nil
}

// UsesOne is [Rendered.Uses] for one image: the further one of that name, or the
// app's own when the name is empty.
func (r Rendered) UsesOne(further string, image protocol.ImageRef, ref protocol.ChartRef) error {
	if image.Digest == "" {
		return nil
	}
	field, objects := "spec.chart.image", r.Objects
	if further != "" {
		field, objects = "spec.images."+further+".chart", slices.Concat(r.Objects, r.Hooks)
		ref.Image = ref.Images[further]
	}
	var found []Use
	elsewhere := false
	for _, o := range objects {
		for _, used := range images(o) {
			parsed, err := protocol.ParseImageRef(used)
			same := err == nil && parsed.FullName() == image.FullName()
			switch {
			case same && parsed.Digest == image.Digest:
				return r.inAll(ref.Image, image, ref.Chart)
			case same && (parsed.Digest == OtherPlaceDigest || strings.HasSuffix(parsed.Tag, OtherPlaceTag)):
				elsewhere = true
			default:
				found = append(found, Use{used, Title(o), r.Source(o)})
			}
		}
	}
	return UnusedError{unused(image, ref, field, found, elsewhere), found}
}

// inAll fails for a chart with the image in several places when the values of a target
// replace one of them.
func (r Rendered) inAll(places protocol.ImagePlaces, image protocol.ImageRef, chart string) error {
	if len(places) < 2 {
		return nil
	}
	text := func(path string) string {
		value, _, _ := unstructured.NestedFieldNoCopy(r.values, strings.Split(path, ".")...)
		return fmt.Sprint(value)
	}
	_, hex, _ := strings.Cut(image.Digest, ":")
	for _, place := range places {
		name, wanted := cmp.Or(place.Repository, place.Value), image.FullName()
		if place.Registry != "" {
			wanted = image.Repository
		}
		is := text(name) == wanted || place.Value != "" && strings.HasPrefix(text(name), wanted)
		if !is || !strings.HasSuffix(text(cmp.Or(place.Digest, place.Tag, place.Value)), hex) {
			return protocol.Invalid("chart %q: %s does not have the image %s any more", chart, place.Places(), image).
				WithHint("do not replace the image in the values of a target")
		}
	}
	return nil
}

// Images lists every image that a container takes, those of hooks too.
func (r Rendered) Images() []Use {
	var all []Use
	for _, o := range slices.Concat(r.Objects, r.Hooks) {
		for _, image := range images(o) {
			all = append(all, Use{image, Title(o), r.Source(o)})
		}
	}
	return all
}

// Held fails for a chart that is pinned when a container takes an image without a
// digest.
func (r Rendered) Held(ref protocol.ChartRef) error {
	if !ref.Pinned {
		return nil
	}
	for _, use := range r.Images() {
		if !strings.Contains(use.Image, "@") {
			return protocol.Invalid("chart %q: its images are pinned (chart.pinImages), but not %s", ref.Chart, use).
				WithHint("do not name the image in the values of the target, or with its digest")
		}
	}
	return nil
}

func unused(image protocol.ImageRef, ref protocol.ChartRef, field string, found []Use, elsewhere bool) error {
	what := "there are no containers"
	if elsewhere {
		what = "all containers take it from other values"
	}
	if len(found) > 0 {
		texts := make([]string, len(found))
		for i, use := range found {
			texts[i] = use.String()
		}
		what = "the images are " + strings.Join(texts, ", ")
	}
	if ref.Image.IsZero() {
		return protocol.Invalid("chart %q does not use the image: no container takes %s: %s", ref.Chart, image, what).
			WithHint("do not replace the image in the values of a target")
	}
	return protocol.Invalid("chart %q does not use the image: no container takes %s, which is in %s: %s", ref.Chart, image, ref.Image.Places(), what).
		WithHint("use %s in the templates, and do not replace it in the values of a target; %s says where it is", ref.Image.Places(), field)
}

// Title names an object as kubectl does.
func Title(o *unstructured.Unstructured) string {
	return strings.ToLower(o.GetKind()) + "/" + o.GetName()
}

// IsBuiltIn reports an object of Kubernetes itself, whose fields are known.
func IsBuiltIn(o *unstructured.Unstructured) bool {
	group := o.GroupVersionKind().Group
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") && group != "apiextensions.k8s.io"
}

// images are those of containers, and in custom resources, whose controllers make
// the pods, every field called image.
func images(o *unstructured.Unstructured) []string {
	if IsBuiltIn(o) {
		return manifest.Images([]*unstructured.Unstructured{o})
	}
	var found []string
	var walk func(value any)
	walk = func(value any) {
		switch v := value.(type) {
		case map[string]any:
			if image, ok := v["image"].(string); ok {
				found = append(found, image)
			}
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(v[key])
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(o.Object)
	return found
}
