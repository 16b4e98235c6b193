package config

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// entry is one field of a mapping, after its merge keys are carried out.
type entry struct {
	name  string
	line  int
	value *yaml.Node
}

// entries lists the fields of a mapping in the order of the file, merged ones
// last. A key that is not a string, or is there twice, is a problem and not an
// entry; a field of the mapping itself wins over a merged one. In a free
// mapping, keys are read as Helm reads those of a values file.
func (r *reader) entries(n *yaml.Node, at *place, free bool) []entry {
	var own []entry
	var merges []*yaml.Node
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merges = append(merges, value)
			continue
		}
		name, ok := r.key(key, at, free)
		if !ok {
			continue
		}
		if first, twice := lines[name]; twice {
			r.add(key.Line, at.field(name).String(), "is set twice, first in line %d", first)
			continue
		}
		lines[name] = key.Line
		own = append(own, entry{name, key.Line, value})
	}
	for _, merge := range merges {
		for _, e := range r.merged(merge, at, free) {
			if _, set := lines[e.name]; !set {
				lines[e.name] = e.line
				own = append(own, e)
			}
		}
	}
	return own
}

// key is the text of a mapping's key.
func (r *reader) key(key *yaml.Node, at *place, free bool) (string, bool) {
	line := key.Line
	if key.Kind == yaml.AliasNode {
		key = key.Alias
	}
	switch {
	case key.Kind != yaml.ScalarNode:
		r.add(line, at.String(), "a key must be a string, is %s", shapeOf(key.Kind))
	case key.ShortTag() != "!!str" && len(key.Value) <= maxKey:
		r.add(line, at.field(key.Value).String(), "a key must be a string: put it in quotes")
	case len(key.Value) > maxKey:
		r.add(line, at.String(), "a key is longer than %d bytes", maxKey)
	default:
		name := key.Value
		if value, is := boolean(key); is && free {
			name = strconv.FormatBool(value)
		}
		return name, r.charge(key, at, line)
	}
	return "", false
}

// merged lists the entries of what stands after a merge key: a mapping, or a
// list of them in which an earlier one wins.
func (r *reader) merged(n *yaml.Node, at *place, free bool) []entry {
	if !r.charge(n, at, n.Line) {
		return nil
	}
	switch n.Kind {
	case yaml.AliasNode:
		if r.circular(n, at) {
			return nil
		}
		r.open[n.Alias] = true
		defer delete(r.open, n.Alias)
		return r.merged(n.Alias, at, free)
	case yaml.MappingNode:
		return r.entries(n, at, free)
	case yaml.SequenceNode:
		var found []entry
		seen := map[string]bool{}
		for _, item := range n.Content {
			for _, e := range r.merged(item, at, free) {
				if !seen[e.name] {
					seen[e.name] = true
					found = append(found, e)
				}
			}
		}
		return found
	}
	r.add(n.Line, at.field("<<").String(), "must be a mapping or a list of mappings")
	return nil
}
