package config

import (
	"encoding"
	"math"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// maxExact is the largest integer that a float64, and so a chart's values, can
// hold exactly.
const maxExact = 1 << 53

// boolean is what a plain word means to YAML 1.1, as Helm, Flux and Argo CD read
// values: the same text moved from a values file to harmony.yaml means the same.
func boolean(n *yaml.Node) (value, is bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) != 0 {
		return false, false
	}
	switch n.Value {
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON":
		return true, true
	case "n", "N", "no", "No", "NO", "off", "Off", "OFF":
		return false, true
	}
	return false, false
}

// freeScalar reads a single value of any type.
func (r *reader) freeScalar(n *yaml.Node, at *place, line int) any {
	switch tag := n.ShortTag(); tag {
	case "!!null":
		return nil
	case "!!str", "!!timestamp":
		return n.Value
	case "!!bool", "!!int", "!!float":
		return r.number(n, at, line)
	default:
		r.add(line, at.String(), "has the tag %s, which has no meaning here", tag)
		return nil
	}
}

// number reads an integer, a fraction or a boolean.
func (r *reader) number(n *yaml.Node, at *place, line int) any {
	var value any
	if err := n.Decode(&value); err != nil {
		r.add(line, at.String(), "is not a %s", n.ShortTag()[2:])
		return nil
	}
	switch v := value.(type) {
	case bool:
		return v
	case int:
		if v <= maxExact && v >= -maxExact {
			return int64(v)
		}
	case float64:
		if n.ShortTag() == "!!float" && !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v
		}
	}
	r.add(line, at.String(), "is a number that cannot be kept exactly: put it in quotes")
	return nil
}

// scalar reads a value for a Go string, number or boolean.
func (r *reader) scalar(n *yaml.Node, t reflect.Type, at *place, line int) any {
	if n.Kind != yaml.ScalarNode {
		r.add(line, at.String(), "must be %s, is %s", scalarName(t), shapeOf(n.Kind))
		return nil
	}
	value := r.freeScalar(n, at, line)
	if value == nil {
		return nil // freeScalar noted why
	}
	if whole, ok := value.(int64); ok && t.Kind() == reflect.Float64 {
		value = float64(whole)
	}
	if reflect.TypeOf(value).Kind() == scalarKind(t) {
		return value
	}
	if t.Kind() == reflect.String {
		r.add(line, at.String(), "must be a string: put it in quotes")
	} else {
		r.add(line, at.String(), "must be %s", scalarName(t))
	}
	return nil
}

// scalarKind is the kind in which freeScalar returns a value for t.
func scalarKind(t reflect.Type) reflect.Kind {
	if reflect.Zero(t).CanInt() {
		return reflect.Int64
	}
	return t.Kind()
}

func scalarName(t reflect.Type) string {
	switch scalarKind(t) {
	case reflect.String:
		return "a string"
	case reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	}
	return "a value of type " + t.String()
}

// text reads a value for a type that reads itself from text, such as a
// duration.
func (r *reader) text(n *yaml.Node, t reflect.Type, at *place, line int) any {
	if n.Kind != yaml.ScalarNode {
		r.add(line, at.String(), "must be a string, is %s", shapeOf(n.Kind))
		return nil
	}
	into := reflect.New(t).Interface().(encoding.TextUnmarshaler)
	if err := into.UnmarshalText([]byte(n.Value)); err != nil {
		r.add(line, at.String(), "%v", err)
		return nil
	}
	return n.Value
}
