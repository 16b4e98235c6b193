package scan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Options say what to propose.
type Options struct {
	// Project is the name of an app at the top of the project.
	Project string
	// Generate makes apps of images without a chart, with a generated one.
	Generate bool
}

// App is a proposed app.
type App struct {
	Spec protocol.AppSpec
	// Notes tell why it is proposed, and what is left to do.
	Notes []string

	image Image
}

// matcher brings images and charts together.
type matcher struct {
	found  *Found
	images []Image
	charts []Chart
	pairs  []pair
}

// pair is a chart with its images; the first one is the app's.
type pair struct {
	chart  Chart
	images []Image
	why    string
}

// Apps proposes apps. What does not become one is added to what was not understood.
func (f *Found) Apps(o Options) []App {
	m := &matcher{found: f, images: f.distinct(), charts: f.appCharts()}
	m.byRelease()
	m.byName()
	m.byFolder()
	m.byMention()
	m.theOnlyOnes()
	slices.SortStableFunc(m.pairs, func(a, b pair) int { return strings.Compare(a.chart.Folder, b.chart.Folder) })
	names := map[string]bool{}
	var apps []App
	for _, p := range m.pairs {
		apps = append(apps, m.chartApp(p, names))
	}
	generate := o.Generate || len(f.Charts) == 0 && slices.ContainsFunc(m.images, func(i Image) bool { return i.origin == ofCompose })
	for _, image := range m.images {
		if !generate {
			f.unclear(image.File, image.Line, "no chart is for this image; with 'harmony init --chart' it gets a generated one")
			continue
		}
		apps = append(apps, generated(image, o.Project, names))
	}
	for _, part := range f.Parts {
		apps = append(apps, partApp(part, names))
	}
	for _, chart := range m.charts {
		f.unclear(path.Join(chart.Folder, "Chart.yaml"), 0, "%s", m.choices(chart))
	}
	addDependencies(apps)
	return apps
}

// choices say which images a chart without one could have.
func (m *matcher) choices(chart Chart) string {
	var list []string
	for _, image := range m.images {
		list = append(list, image.place())
	}
	if len(list) == 0 {
		return "no image was found for this chart"
	}
	return fmt.Sprintf("which image the chart %s runs is not clear: %s", chart.Name, strings.Join(list, ", "))
}

// distinct are the images, each one once: what a tool says of a Dockerfile replaces the
// Dockerfile, a Dockerfile the Go main packages that it compiles, and all of them web
// pages.
func (f *Found) distinct() []Image {
	sorted := slices.Clone(f.Images)
	slices.SortStableFunc(sorted, func(a, b Image) int { return a.origin - b.origin })
	var list []Image
	for _, image := range sorted {
		covered := slices.ContainsFunc(list, func(better Image) bool { return better.covers(image) })
		if !covered {
			list = append(list, image)
		}
	}
	return list
}

// covers reports whether an image makes another one superfluous.
func (i Image) covers(other Image) bool {
	switch {
	case other.origin == ofStatic:
		return i.origin != ofStatic
	case i.origin == other.origin:
		return false
	case other.origin == ofGo:
		return i.Source.Dockerfile != nil && isIn(other.folder(), i.Folder) || i.Source.Buildable != nil && i.Source.Buildable.Main == other.Source.Buildable.Main
	}
	return i.Source.Dockerfile != nil && other.Source.Dockerfile != nil && i.Source.Dockerfile.Path == other.Source.Dockerfile.Path
}

// folder is where the image's file is.
func (i Image) folder() string { return path.Dir(i.File) }

// place is where the image was found.
func (i Image) place() string { return Note{File: i.File, Line: i.Line}.place() }

// isIn reports whether a folder is another one or inside it.
func isIn(folder, outer string) bool {
	return outer == "." || folder == outer || strings.HasPrefix(folder, outer+"/")
}

// appCharts are the charts of apps: those that were found and, where only one file was
// read, those that its releases name.
func (f *Found) appCharts() []Chart {
	var list []Chart
	known := map[string]bool{}
	for _, c := range f.Charts {
		known[c.Folder] = true
		if c.Unfit == "" {
			list = append(list, c)
		}
	}
	for _, r := range f.Releases {
		if !known[r.Chart] {
			known[r.Chart] = true
			list = append(list, Chart{Name: path.Base(r.Chart), Folder: r.Chart})
		}
	}
	return list
}

// take removes the images that are wanted from the ones left, and returns them.
func (m *matcher) take(wanted func(Image) bool) (taken []Image) {
	m.images = slices.DeleteFunc(m.images, func(i Image) bool {
		if wanted(i) {
			taken = append(taken, i)
			return true
		}
		return false
	})
	return taken
}

// pair makes an app of every chart left for which images are found.
func (m *matcher) pair(images func(Chart) ([]Image, string)) {
	m.charts = slices.DeleteFunc(m.charts, func(c Chart) bool {
		list, why := images(c)
		if len(list) > 0 {
			m.pairs = append(m.pairs, pair{c, list, why})
		}
		return len(list) > 0
	})
}

// byRelease pairs the charts and images of releases that name both.
func (m *matcher) byRelease() {
	m.pair(func(c Chart) (list []Image, why string) {
		for _, r := range m.found.Releases {
			if r.Chart != c.Folder {
				continue
			}
			for _, name := range r.Images {
				list = append(list, m.take(func(i Image) bool { return i.origin == ofSkaffold && i.Name == name })...)
			}
			why = fmt.Sprintf("%s releases this image with this chart", r.File)
		}
		return list, why
	})
}

// byName pairs a chart and an image of one name.
func (m *matcher) byName() {
	m.pair(func(c Chart) ([]Image, string) {
		names := append(m.releases(c), c.Name, path.Base(c.Folder))
		matches := func(i Image) bool { return i.Name != "" && slices.Contains(names, i.Name) }
		if count(m.images, matches) != 1 {
			return nil, ""
		}
		return m.take(matches), "chart and image have one name"
	})
}

func count(images []Image, matches func(Image) bool) (n int) {
	for _, i := range images {
		if matches(i) {
			n++
		}
	}
	return n
}

// byFolder pairs a chart and the image in whose folder it is.
func (m *matcher) byFolder() {
	m.pair(func(c Chart) ([]Image, string) {
		matches := func(i Image) bool { return i.folder() != "." && isIn(c.Folder, i.folder()) }
		if count(m.images, matches) != 1 {
			return nil, ""
		}
		return m.take(matches), "the chart is in the image's folder"
	})
}

// byMention adds the images that a chart's values name, in their order.
func (m *matcher) byMention() {
	mentioned := func(c Chart) (list []Image) {
		for _, name := range c.Mentions {
			list = append(list, m.take(func(i Image) bool { return i.Name == name })...)
		}
		return list
	}
	for i := range m.pairs {
		m.pairs[i].images = append(m.pairs[i].images, mentioned(m.pairs[i].chart)...)
	}
	m.pair(func(c Chart) ([]Image, string) {
		list := mentioned(c)
		if len(c.Mentions) == 0 {
			return list, ""
		}
		return list, "the chart's values.yaml names the image " + c.Mentions[0]
	})
}

// theOnlyOnes pairs a chart and an image if no others are left.
func (m *matcher) theOnlyOnes() {
	if len(m.charts) == 1 && len(m.images) == 1 {
		m.pair(func(Chart) ([]Image, string) {
			return m.take(func(Image) bool { return true }), "there is one image and one chart"
		})
	}
}

// releases are the names under which a chart is released, without a target's name at the
// end.
func (m *matcher) releases(c Chart) (names []string) {
	for _, r := range m.found.Releases {
		name := r.Name
		for _, target := range []string{"-staging", "-production", "-prod", "-dev"} {
			name = strings.TrimSuffix(name, target)
		}
		if r.Chart == c.Folder && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (m *matcher) chartApp(p pair, taken map[string]bool) App {
	name := p.chart.Name
	if released := m.releases(p.chart); len(released) == 1 {
		name = released[0]
	}
	app := App{image: p.images[0], Notes: []string{fmt.Sprintf("%s and %s: %s", p.images[0].place(), path.Join(p.chart.Folder, "Chart.yaml"), p.why)}}
	app.Spec.Name = unique(name, taken)
	app.Spec.Image = p.images[0].Source
	app.Spec.Chart.Path = p.chart.Folder
	app.Spec.Smoke = []protocol.SmokeCheck{{Name: "ready", Rollout: &protocol.RolloutCheck{}}}
	names := map[string]bool{}
	for _, other := range p.images[1:] {
		if app.Spec.Images == nil {
			app.Spec.Images = map[string]protocol.AppImage{}
		}
		further := unique(other.Name, names)
		app.Spec.Images[further] = protocol.AppImage{ImageSource: other.Source}
		app.Notes = append(app.Notes, fmt.Sprintf("the image %s, of %s: the chart runs it too", further, other.place()))
	}
	return app
}

// generated is the app of an image without a chart.
func generated(image Image, project string, taken map[string]bool) App {
	name := image.Name
	if name == "" {
		name = project
	}
	app := App{image: image, Notes: []string{image.place() + ", with a generated chart"}}
	for _, note := range image.Open {
		app.Notes = append(app.Notes, note.String())
	}
	app.Spec.Name = unique(name, taken)
	app.Spec.Image = image.Source
	workload := image.Workload
	app.Spec.Chart.Workload = &workload
	app.Spec.Smoke = []protocol.SmokeCheck{{Name: "ready", Rollout: &protocol.RolloutCheck{}}}
	for _, p := range workload.Ports {
		if p.Protocol == "" {
			app.Spec.Smoke = append(app.Spec.Smoke, protocol.SmokeCheck{Name: "listens", TCP: &protocol.TCPCheck{Service: app.Spec.Name, Port: p.Port}})
			break
		}
	}
	return app
}

// unique is a name for an app that no other one has.
func unique(name string, taken map[string]bool) string {
	base := config.Label(name)
	if base[0] <= '9' { // a Service's name begins with a letter
		base = config.Label("app-" + base)
	}
	name = base
	for i := 2; taken[name]; i++ {
		suffix := fmt.Sprintf("-%d", i)
		name = strings.TrimRight(base[:min(len(base), 52-len(suffix))], "-") + suffix
	}
	taken[name] = true
	return name
}

// addDependencies names the apps whose services an app's service depends on.
func addDependencies(apps []App) {
	for i := range apps {
		for _, other := range apps {
			if other.Spec.Name != apps[i].Spec.Name && slices.Contains(apps[i].image.DependsOn, other.image.Name) {
				apps[i].Spec.DependsOn = append(apps[i].Spec.DependsOn, other.Spec.Name)
			}
		}
	}
}
