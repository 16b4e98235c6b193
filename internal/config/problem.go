package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// place is the way from a document's root to a value. It is written out only
// where it is needed, since a file may hold many values.
type place struct {
	parent *place
	step   string // ".name" or "[1]"
	depth  int
}

func (p *place) field(name string) *place { return &place{p, "." + name, p.depth + 1} }
func (p *place) index(i int) *place       { return &place{p, "[" + strconv.Itoa(i) + "]", p.depth + 1} }

func (p *place) String() string {
	steps := make([]string, 0, p.depth)
	for ; p.parent != nil; p = p.parent {
		steps = append(steps, p.step)
	}
	slices.Reverse(steps)
	return strings.TrimPrefix(strings.Join(steps, ""), ".")
}

// parentOf is the path of the value around the one at field: spec.smoke of
// spec.smoke[1].
func parentOf(field string) string {
	return field[:max(strings.LastIndexAny(field, ".["), 0)]
}

// problem is one thing wrong with a file.
type problem struct {
	line  int    // 0: the whole file
	field string // "" when it is about no field
	text  string
}

// problems are all that is wrong with one file. As an error they are one line
// each, in the order of the file.
type problems struct {
	file  string
	found []problem
}

func (p *problems) add(line int, field, format string, args ...any) {
	p.found = append(p.found, problem{line, field, fmt.Sprintf(format, args...)})
}

func (p *problems) Error() string {
	found := slices.Clone(p.found)
	slices.SortStableFunc(found, func(x, y problem) int { return cmp.Compare(x.line, y.line) })
	lines := make([]string, len(found))
	for i, f := range found {
		lines[i] = p.file
		if f.line > 0 {
			lines[i] += ":" + strconv.Itoa(f.line)
		}
		if f.field != "" {
			lines[i] += ": " + f.field
		}
		lines[i] += ": " + f.text
	}
	return strings.Join(slices.Compact(lines), "\n")
}
