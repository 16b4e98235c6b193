package scan

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func readChart(found *Found, s *scanner, name string, data []byte) {
	list := documents(found, name, data)
	if len(list) == 0 {
		return
	}
	chart := Chart{Name: text(list[0], "name"), Folder: path.Dir(name)}
	dependencies, parts := len(at(list[0], "dependencies").Content), false
	switch {
	case text(list[0], "type") == "library":
		chart.Unfit = "a library chart"
	case dependencies > 0 && !s.renders(chart.Folder):
		chart.Unfit = "a chart of other charts, with no templates of its own"
		parts = true
	}
	if parts {
		found.note(name, 0, "%s; each of them is an app", chart.Unfit)
	} else if chart.Unfit != "" {
		found.note(name, 0, "%s; it is no app", chart.Unfit)
	} else {
		found.note(name, 0, "the chart %s", chart.Name)
	}
	var own *yaml.Node
	if values := path.Join(chart.Folder, "values.yaml"); s.exists(values) {
		if data, ok := s.read(values); ok {
			for _, d := range documents(found, values, data) {
				chart.Mentions, own = mentions(d, 0), d
			}
		}
	}
	if parts {
		found.addParts(name, list[0], own)
	}
	found.Charts = append(found.Charts, chart)
}

// renders reports whether a chart has templates of its own that make objects.
func (s *scanner) renders(folder string) bool {
	renders := false
	_ = fs.WalkDir(s.fsys, path.Join(folder, "templates"), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && isYAML(path.Base(name)) && !strings.HasPrefix(path.Base(name), "_") {
			renders = true
			return fs.SkipAll
		}
		return nil
	})
	return renders
}

// mentions are the names of the images in values, in order, without registry and tag:
// those under image and under repository.
func mentions(n *yaml.Node, depth int) []string {
	if depth > maxDepth {
		return nil
	}
	var list []string
	for key, value := range fields(n) {
		if reference := text(value); reference != "" && (key == "repository" || key == "image") {
			if name := imageName(reference); name != "" && !slices.Contains(list, name) {
				list = append(list, name)
			}
			continue
		}
		list = append(list, mentions(value, depth+1)...)
	}
	return list
}

// imageName is the last part of an image's reference, without tag and digest.
func imageName(reference string) string {
	name, _, _ := strings.Cut(reference, "@")
	name = path.Base(name)
	name, _, _ = strings.Cut(name, ":")
	if name == "." || name == "/" {
		return ""
	}
	return name
}
