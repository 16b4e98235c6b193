package dockerfile

import (
	"cmp"
	"path"
	"strings"

	"github.com/moby/patternmatcher"
)

// Take is what an instruction takes from one place.
type Take struct {
	// Pattern is a path, or a pattern of paths.
	Pattern string
	Selection
	// Required is set when Include has to match something; it is for messages.
	Required string
	// Place is where it stands, name:line.
	Place string
}

// Selection narrows what is taken of a folder.
type Selection struct {
	// Include is a pattern of what is taken; all without one.
	Include string
	// Exclude has patterns of what is left out.
	Exclude []string
}

// TakeOf is what a word of COPY or ADD takes. With --parents that is what
// matches below a folder: the part before /./, or the root.
func TakeOf(word string, parents bool, exclude []string) Take {
	t := Take{Pattern: word, Selection: Selection{Exclude: exclude}}
	if !parents {
		return t
	}
	folder, pattern, pivot := strings.Cut(word, "/./")
	if !pivot {
		folder, pattern = "/", word
	}
	t.Pattern, t.Include = folder, strings.TrimPrefix(path.Clean("/"+pattern), "/")
	if !IsPattern(word) {
		t.Required = cmp.Or(word, ".")
	}
	return t
}

func (t Take) at(place string) Take {
	t.Place = place
	return t
}

// Select leaves of what is in a folder, in the order of a walk, what is
// selected, and the folders around it. The function tells the path of an item,
// and where to note that it is only there for what is in it.
func Select[T any](s Selection, items []T, of func(*T) (name string, implied *bool)) ([]T, error) {
	if s.Include == "" && len(s.Exclude) == 0 {
		return items, nil
	}
	include, err := newPatterns(s.Include)
	if err != nil {
		return nil, err
	}
	exclude, err := newPatterns(s.Exclude...)
	if err != nil {
		return nil, err
	}
	taken := make([]bool, len(items))
	folders := map[string]int{}
	for i := range items {
		name, _ := of(&items[i])
		folders[name] = i
		in, err := include.match(name)
		if err != nil {
			return nil, err
		}
		not, err := exclude.match(name)
		if err != nil {
			return nil, err
		}
		if !in && s.Include != "" || not {
			continue
		}
		taken[i] = true
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			at, ok := folders[dir]
			if !ok || taken[at] {
				break
			}
			_, implied := of(&items[at])
			taken[at], *implied = true, true
		}
	}
	out := items[:0:0]
	for i := range items {
		if taken[i] {
			out = append(out, items[i])
		}
	}
	return out, nil
}

// patterns match paths that come in the order of a walk.
type patterns struct {
	matcher *patternmatcher.PatternMatcher
	parents map[string]patternmatcher.MatchInfo
}

func newPatterns(list ...string) (patterns, error) {
	matcher, err := patternmatcher.New(list)
	return patterns{matcher, map[string]patternmatcher.MatchInfo{}}, err
}

func (p patterns) match(name string) (bool, error) {
	matched, info, err := p.matcher.MatchesUsingParentResults(name, p.parents[path.Dir(name)])
	p.parents[name] = info
	return matched, err
}
