package file

import (
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
)

// Rendered is what a chart gives for its values, before anything is applied.
type Rendered struct {
	Objects, Hooks []*unstructured.Unstructured
	sources        map[*unstructured.Unstructured]string
}

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
	r := Rendered{sources: map[*unstructured.Unstructured]string{}}
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
	return r, nil
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
