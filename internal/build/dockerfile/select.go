package dockerfile

import (
	"cmp"
	"errors"
	"path"
	"strings"

	"github.com/moby/patternmatcher"
)

// Take is what an instruction takes from one place.
type Take struct {
	// Pattern is a path, or a pattern of paths.
	Pattern string
	Selection
	// Required is set if Include must match something; it is for messages.
	Required string
	// Place is name:line of the instruction.
	Place string
}

// Selection narrows what is taken of a folder.
type Selection struct {
	// Include is a pattern of what is taken; all without one.
	Include string
	// Exclude has patterns of what is left out.
	Exclude []string
}

// TakeOf is what a word of a COPY or ADD at a place takes. With --parents that is what
// matches below a folder: the part before /./, or the root.
func TakeOf(word, place string, parents bool, exclude []string) Take {
	t := Take{Pattern: word, Place: place, Selection: Selection{Exclude: exclude}}
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

// Select returns the selected items of a folder, which are in the order of a walk, and
// the folders around them. of returns the path of an item, and where to note that it
// is only there for what is in it.
func Select[T any](s Selection, items []T, of func(*T) (name string, implied *bool)) ([]T, error) {
	if s.Include == "" && len(s.Exclude) == 0 {
		return items, nil
	}
	include, err1 := newPatterns(s.Include)
	exclude, err2 := newPatterns(s.Exclude...)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	taken := make([]bool, len(items))
	folders := map[string]int{}
	for i := range items {
		name, _ := of(&items[i])
		folders[name] = i
		in, err1 := include.match(name)
		not, err2 := exclude.match(name)
		if err := errors.Join(err1, err2); err != nil {
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
