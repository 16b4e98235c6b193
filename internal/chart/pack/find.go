package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxCandidates is how many places of a chart are tried. Each of them takes a
// rendering or two, and a chart with more than that has several components, of
// which only a person knows which one is the app.
const maxCandidates = 16

// candidate is a map of the chart's values that could take the image, in one of
// several ways: those that are likelier come first.
type candidate struct {
	path string
	ways []protocol.ChartImage
}

// find is the chart with the image in the one place of its values where that
// works.
func (p *packing) find(ctx context.Context) (draft, error) {
	works, failures, err := p.working(ctx)
	if err != nil {
		return draft{}, err
	}
	switch len(works) {
	case 0:
		return draft{}, p.none(ctx, failures)
	case 1:
		return works[0], nil
	}
	places := placesOf(works)
	return draft{}, p.choose(fmt.Sprintf("%d places in its values take the image", len(works)), places, p.together(ctx, places))
}

func placesOf(works []draft) []protocol.ChartImage {
	places := make([]protocol.ChartImage, len(works))
	for i, made := range works {
		places[i] = made.place()
	}
	return places
}

// working are the charts with the image in each place of its values where that
// works: containers run it, by its digest, with the values of every target. The
// failures are those of the places where it does not.
func (p *packing) working(ctx context.Context) (works []draft, failures []failure, err error) {
	all, err := p.candidates()
	if err != nil {
		return nil, nil, protocol.Invalid("chart %s: %w", p.name, err)
	}
	all = slices.DeleteFunc(all, p.isTaken)
	if len(all) > maxCandidates {
		return nil, nil, p.choose(fmt.Sprintf("its values have %d places that may take the image, and at most %d are tried", len(all), maxCandidates), first(all), nil)
	}
	limited, cancel := context.WithTimeoutCause(ctx, renderTime, fmt.Errorf("no place for the image was found within %s", renderTime))
	defer cancel()
	for _, c := range all {
		made, failed := p.tryWays(limited, c)
		switch {
		case ctx.Err() != nil:
			return nil, nil, fmt.Errorf("check chart %s: %w", p.name, context.Cause(ctx))
		case limited.Err() != nil:
			return nil, nil, protocol.Invalid("chart %s: %w", p.name, context.Cause(limited)).WithHint("%s", p.sayWhere())
		}
		if failed == nil {
			works = append(works, made)
		}
		failures = append(failures, failed...)
	}
	return works, failures, nil
}

// first is the likeliest way of each.
func first(all []candidate) []protocol.ChartImage {
	places := make([]protocol.ChartImage, len(all))
	for i, c := range all {
		places[i] = c.ways[0]
	}
	return places
}

// choose is the error that leaves the choice to the user: one of the places, or all of
// them where that is a choice.
func (p *packing) choose(why string, places []protocol.ChartImage, all protocol.ImagePlaces) error {
	lines := make([]string, len(places))
	for i, place := range places {
		lines[i] = "\n" + p.key() + ": " + place.String()
	}
	if len(all) == 2 {
		lines = append(lines, "\nor both:")
	} else if len(all) > 2 {
		lines = append(lines, "\nor all of them:")
	}
	if len(all) > 1 {
		lines = append(lines, "\n"+p.key()+": "+all.String())
	}
	return protocol.Invalid("chart %s: %s:%s", p.name, why, strings.Join(lines, "")).
		WithHint("put the line of %s under %s in harmony.yaml", p.subject(), p.under())
}

// failure is what came of an image in its place.
type failure struct {
	places protocol.ChartImage
	// proven is true when containers took the image with some of the sets of values.
	proven bool
	err    error
}

// tryWays is the chart with the image in the first way that works, or else what
// came of them.
func (p *packing) tryWays(ctx context.Context, c candidate) (draft, []failure) {
	var failures []failure
	unused := map[string]bool{}
	for _, way := range c.ways {
		if unused[way.Repository] {
			continue
		}
		made, err := p.try(ctx, way)
		proven := made.proven > 0
		if err == nil && !proven {
			err = p.unproven(made)
		} else if err != nil && way.Tag != "" && way.Digest == "" {
			made, err = p.beside(ctx, way, err)
		}
		if err == nil || ctx.Err() != nil {
			return made, nil
		}
		failures = append(failures, failure{way, proven, err})
		unused[way.Repository] = way.Repository != "" && !proven && p.isUnused(err)
	}
	return draft{}, failures
}

// unproven is the error for a chart that could not be rendered to the end.
func (p *packing) unproven(made draft) error {
	return protocol.Invalid("%s", strings.Join(made.warnings, "\n")).WithHint("%s", p.sayWhere())
}

// half is an image that has the name of the app's, and not its digest, if err
// reports one.
func (p *packing) half(err error) (file.Use, bool) {
	unused, _ := errors.AsType[file.UnusedError](err)
	for _, use := range unused.Images {
		parsed, err := protocol.ParseImageRef(use.Image)
		written := strings.Contains(p.files.imageLine(use).text, use.Image) // and in no value
		if err == nil && parsed.FullName() == p.image.FullName() && !written {
			return use, true
		}
	}
	return file.Use{}, false
}

// isUnused reports a chart that takes nothing of the image, not even its name.
func (p *packing) isUnused(err error) bool {
	_, unused := errors.AsType[file.UnusedError](err)
	_, half := p.half(err)
	return unused && !half
}

// beside has the digest in the value next to the tag, when the tag cannot take it:
// the templates make labels from the tag, or take a digest before it. err is what
// came of the tag, and is explained when the digest does not help.
func (p *packing) beside(ctx context.Context, places protocol.ChartImage, err error) (draft, error) {
	if p.isUnused(err) {
		return draft{}, err
	}
	other := places
	other.Digest = digestBeside(places.Tag)
	if made, otherErr := p.try(ctx, other); otherErr == nil && made.proven > 0 {
		return made, nil
	}
	return draft{}, p.blameTag(ctx, places, err)
}

// candidates are the maps of the chart's values, its subcharts' included, that
// look like places of an image, with the values of any target, in the order of
// their paths.
func (p *packing) candidates() ([]candidate, error) {
	found := map[string][]protocol.ChartImage{}
	all, err := p.merged()
	if err != nil {
		return nil, err
	}
	for _, values := range all {
		look(values, "", found)
	}
	list := make([]candidate, 0, len(found))
	for _, path := range slices.Sorted(maps.Keys(found)) {
		list = append(list, candidate{path, found[path]})
	}
	return list, nil
}

// merged are the chart's values, its subcharts' included, with each set of values
// over them.
func (p *packing) merged() ([]chartutil.Values, error) {
	var all []chartutil.Values
	for _, v := range p.variants {
		loaded, err := loader.LoadFiles(p.files.buffered())
		if err != nil {
			return nil, err
		}
		if err := chartutil.ProcessDependenciesWithMerge(loaded, v.values); err != nil {
			return nil, fmt.Errorf("with %s: %w", v.name, err)
		}
		merged, err := chartutil.CoalesceValues(loaded, v.values)
		if err != nil {
			return nil, fmt.Errorf("with %s: %w", v.name, err)
		}
		all = append(all, merged)
	}
	return all, nil
}

// plainKey is a key that a dotted path can name.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// look adds the places in a map of values, whose path ends with a dot unless it
// is empty.
func look(values map[string]any, path string, found map[string][]protocol.ChartImage) {
	ways := ofMap.ways(values, path)
	if value := firstOf(values, path, []string{"image"}); value != "" {
		ways = append(ways, protocol.ChartImage{Value: value})
	}
	if len(ways) > 0 {
		found[path] = ways
	}
	if ways := flat.ways(values, path); len(ways) > 0 {
		found[path+"image"] = ways // no map's path: those of maps are empty or end with a dot
	}
	for key, value := range values {
		below, isMap := value.(map[string]any)
		if isMap && plainKey.MatchString(key) && (key != chartutil.GlobalKey || path == "") { // a subchart sees the globals too
			look(below, path+key+".", found)
		}
	}
}

// keys are the names that values have for the parts of an image, the usual one first.
type keys struct{ registry, repository, tag, digest []string }

var (
	// ofMap are those in a map that is about an image, and flat those in one that is about
	// other things, too.
	ofMap = keys{[]string{"registry"}, []string{"repository", "repo", "name", "image"}, []string{"tag"}, []string{"digest", "sha", "sha256"}}
	flat  = keys{
		[]string{"imageRegistry"}, []string{"imageRepository", "imageRepo", "imageName", "image"},
		[]string{"imageTag", "imageVersion"}, []string{"imageDigest", "imageSha", "imageSHA", "imageSha256"},
	}
)

// ways lists how a map of values could take the image in several of them.
func (k keys) ways(values map[string]any, path string) (ways []protocol.ChartImage) {
	registry, tag, digest := firstOf(values, path, k.registry), firstOf(values, path, k.tag), firstOf(values, path, k.digest)
	for i, key := range k.repository {
		repository := firstOf(values, path, []string{key})
		if repository == "" || i > 0 && tag == "" && digest == "" {
			continue
		}
		if digest != "" {
			ways = append(ways, protocol.ChartImage{Registry: registry, Repository: repository, Tag: tag, Digest: digest})
		}
		ways = append(ways, protocol.ChartImage{Registry: registry, Repository: repository, Tag: cmp.Or(tag, path+k.tag[0])})
	}
	return ways
}

// firstOf is the path of the first of the keys that has a single value in the map at the
// path; empty when none has.
func firstOf(values map[string]any, path string, names []string) string {
	for _, key := range names {
		value, held := values[key]
		switch value.(type) {
		case map[string]any, []any:
		default:
			if held {
				return path + key
			}
		}
	}
	return ""
}
