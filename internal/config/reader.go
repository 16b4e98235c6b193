package config

import (
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// maxDepth is how deep values may be nested.
	maxDepth = 100
	// maxKey is the length of the longest key, in bytes.
	maxKey = 1024
	// maxCost bounds what a document grows to once its aliases are written out:
	// its bytes, and nodeCost for every value.
	maxCost  = 4 << 20
	nodeCost = 32
)

// reader turns one YAML document into JSON values and compares it with a Go type, field
// by field; each mismatch is a problem with its line. The Go types are the only
// description of the format.
type reader struct {
	*problems
	lines map[string]int      // where each typed value is written, by its path
	open  map[*yaml.Node]bool // the anchors being read
	cost  int
}

func newReader(p *problems) *reader {
	return &reader{problems: p, lines: map[string]int{}, open: map[*yaml.Node]bool{}}
}

var (
	anyType  = reflect.TypeFor[any]()
	textType = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonType = reflect.TypeFor[json.Unmarshaler]() // validates itself
	openType = reflect.TypeFor[open]()

	shortType = reflect.TypeFor[short]()
)

// open is a struct that takes mappings of any shape as fields that it does not have.
type open interface{ TakesField(name string) bool }

// short is a struct for which a single value may stand.
type short interface{ TakesScalar() bool }

// read returns the value of n as encoding/json would decode it, but with int64 for
// integers. line is that of the value's key. Problems are noted, and their values left
// out of the result.
func (r *reader) read(n *yaml.Node, t reflect.Type, at *place, line int) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if !r.charge(n, at, line) {
		return nil
	}
	if t != anyType {
		r.lines[at.String()] = line
	}
	if n.Kind == yaml.AliasNode {
		if r.circular(n, at) {
			return nil
		}
		return r.read(n.Alias, t, at, line)
	}
	if n.Anchor != "" {
		r.open[n] = true
		defer delete(r.open, n)
	}
	switch {
	case n.Kind != yaml.SequenceNode && isOneOrMore(t):
		return r.object(n, t.Elem(), at, line)
	case isOneOrMore(t):
		return r.list(n, t.Elem(), at, line)
	case t == anyType || reflect.PointerTo(t).Implements(jsonType) && !t.Implements(openType) && !t.Implements(shortType),
		t.Implements(shortType) && n.Kind == yaml.ScalarNode && !isNull(n):
		return r.free(n, at, line)
	case isNull(n):
		r.add(line, at.String(), "is empty: write %s to mean that, or remove it", emptyOf(t))
		return nil
	case reflect.PointerTo(t).Implements(textType):
		return r.text(n, t, at, line)
	case t.Kind() == reflect.Struct:
		return r.object(n, t, at, line)
	case t.Kind() == reflect.Map:
		return r.dictionary(n, t.Elem(), at, line)
	case t.Kind() == reflect.Slice:
		return r.list(n, t.Elem(), at, line)
	}
	return r.scalar(n, t, at, line)
}

// isOneOrMore reports a list of which one item may stand alone.
func isOneOrMore(t reflect.Type) bool { return t == reflect.TypeFor[protocol.ImagePlaces]() }

// charge counts n towards the limits, and reports whether it is within them.
func (r *reader) charge(n *yaml.Node, at *place, line int) bool {
	if r.cost > maxCost {
		return false
	}
	r.cost += nodeCost + len(n.Value)
	switch {
	case r.cost > maxCost:
		r.add(line, at.String(), "the document is too large once its aliases are written out")
	case at.depth > maxDepth:
		r.add(line, "", "values are nested more than %d deep", maxDepth)
	default:
		return true
	}
	return false
}

// circular reports whether an alias lies within the value that it stands for.
func (r *reader) circular(alias *yaml.Node, at *place) bool {
	if !r.open[alias.Alias] {
		return false
	}
	r.add(alias.Line, at.String(), "*%s contains itself", alias.Value)
	return true
}

// object reads a mapping into the fields of a struct.
func (r *reader) object(n *yaml.Node, t reflect.Type, at *place, line int) any {
	if !r.isKind(n, yaml.MappingNode, at, line) {
		return nil
	}
	types, names := fieldsOf(t)
	object := map[string]any{}
	for _, e := range r.entries(n, at, false) {
		fieldType, ok := types[e.name]
		field := at.field(e.name)
		if !ok && takes(t, e) {
			fieldType, ok = anyType, true
			r.lines[field.String()] = e.line
		}
		if !ok {
			r.unknown(e, names, at)
			continue
		}
		if isNull(e.value) && fieldType != anyType && !isStruct(fieldType) {
			r.lines[field.String()] = e.line
			continue
		}
		object[e.name] = r.read(e.value, fieldType, field, e.line)
	}
	return object
}

// takes reports whether a struct takes a field that it does not have.
func takes(t reflect.Type, e entry) bool {
	value := e.value
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	o, is := reflect.Zero(t).Interface().(open)
	return is && value.Kind == yaml.MappingNode && o.TakesField(e.name)
}

func (r *reader) unknown(e entry, names []string, at *place) {
	r.add(e.line, at.field(e.name).String(), "unknown field, %s", nearest.Hint(e.name, names, "known fields: "+strings.Join(names, ", ")))
}

// dictionary reads a mapping with keys of the user's choice.
func (r *reader) dictionary(n *yaml.Node, elem reflect.Type, at *place, line int) any {
	if !r.isKind(n, yaml.MappingNode, at, line) {
		return nil
	}
	object := map[string]any{}
	for _, e := range r.entries(n, at, elem == anyType) {
		object[e.name] = r.read(e.value, elem, at.field(e.name), e.line)
	}
	return object
}

func (r *reader) list(n *yaml.Node, elem reflect.Type, at *place, line int) any {
	if !r.isKind(n, yaml.SequenceNode, at, line) {
		return nil
	}
	list := make([]any, 0, len(n.Content))
	for i, item := range n.Content {
		list = append(list, r.read(item, elem, at.index(i), item.Line))
	}
	return list
}

// free reads a value of any shape.
func (r *reader) free(n *yaml.Node, at *place, line int) any {
	switch n.Kind {
	case yaml.MappingNode:
		return r.dictionary(n, anyType, at, line)
	case yaml.SequenceNode:
		return r.list(n, anyType, at, line)
	}
	if value, is := boolean(n); is {
		return value
	}
	return r.freeScalar(n, at, line)
}

// isKind reports whether n is a plain mapping or list, as wanted.
func (r *reader) isKind(n *yaml.Node, want yaml.Kind, at *place, line int) bool {
	switch tag := n.ShortTag(); {
	case n.Kind != want:
		r.add(line, at.String(), "must be %s, is %s", shapeOf(want), shapeOf(n.Kind))
	case tag != "!!map" && tag != "!!seq":
		r.add(line, at.String(), "has the tag %s, which has no meaning here", tag)
	default:
		return true
	}
	return false
}

func shapeOf(k yaml.Kind) string {
	switch k {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// fieldsOf lists the fields of a struct by their JSON names, in order.
func fieldsOf(t reflect.Type) (types map[string]reflect.Type, names []string) {
	types = map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" && f.Anonymous {
			inner, own := fieldsOf(f.Type)
			maps.Copy(types, inner)
			names = append(names, own...)
			continue
		}
		if name == "" {
			name = f.Name
		}
		types[name], names = f.Type, append(names, name)
	}
	return types, names
}

func isStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
}

// emptyOf is how an empty value of the type is written.
func emptyOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "{}"
	case reflect.Slice:
		return "[]"
	case reflect.String:
		return `""`
	}
	return "a value"
}
