package pack

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/pkg/protocol"
)

// imageField is a line of a template with the field image.
var imageField = regexp.MustCompile(`(?:^|[\s{,])"?image"?:\s*\S`)

// line is one of a template. Of a chart's archive only the name is known.
type line struct {
	template string
	number   int
	text     string
}

func (l line) String() string {
	if l.number == 0 {
		return l.template
	}
	return fmt.Sprintf("%s:%d", l.template, l.number)
}

// whole is the line with its text.
func (l line) whole() string { return strings.TrimSuffix(l.String()+": "+l.text, ": ") }

// imageLine is the line of a template that has the image of a container: the one
// with the image as it is, else the one with most of the hints, else the first one.
func (t tree) imageLine(use file.Use, hints ...string) line {
	found, best := line{template: use.Template}, -1
	for i, text := range strings.Split(string(t[use.Template]), "\n") {
		if !imageField.MatchString(text) {
			continue
		}
		score := 0
		if strings.Contains(text, use.Image) {
			score = len(hints) + 1
		}
		for _, hint := range hints {
			if strings.Contains(text, hint) {
				score++
			}
		}
		if score > best {
			best, found = score, line{use.Template, i + 1, strings.TrimSpace(text)}
		}
	}
	return found
}

// uses lists the lines of templates that use the tag for something else than the
// image.
func (t tree) uses(places protocol.ChartImage) []string {
	var lines []string
	for _, name := range t.names() {
		if !strings.Contains("/"+name, "/templates/") {
			continue
		}
		for i, line := range strings.Split(string(t[name]), "\n") {
			ofImage := imageField.MatchString(line) || strings.Contains(line, ".Values."+pathIn(name, places.Repository))
			if !ofImage && strings.Contains(line, ".Values."+pathIn(name, places.Tag)) {
				lines = append(lines, fmt.Sprintf("%s:%d", name, i+1))
			}
		}
	}
	return short(lines)
}

// pathIn is the path of a value as the templates of the subchart see it that a
// file is of.
func pathIn(file, path string) string {
	for {
		below, inSubchart := strings.CutPrefix(file, "charts/")
		if !inSubchart {
			return path
		}
		var subchart string
		subchart, file, _ = strings.Cut(below, "/")
		path = strings.TrimPrefix(path, subchart+".")
	}
}

// fileIn is a file of the chart, or subchart, that a template is of.
func fileIn(template, name string) string {
	folder, _, _ := strings.Cut("/"+template, "/templates/")
	return strings.TrimPrefix(folder+"/"+name, "/")
}

// lastKey is the last key of a dotted path.
func lastKey(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// under says in which map a path's value is, if it is not at the top.
func under(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return ", under " + path[:i]
	}
	return ""
}

// digestBeside is the path of the value digest next to a tag.
func digestBeside(tag string) string { return strings.TrimSuffix(tag, lastKey(tag)) + "digest" }
