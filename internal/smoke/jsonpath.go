package smoke

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"k8s.io/client-go/util/jsonpath"

	"github.com/nationtech/harmony/pkg/protocol"
)

// jsonPath is one expectation of a JSON body, ready for use. It is used by one
// goroutine at a time.
type jsonPath struct {
	text   string
	path   *jsonpath.JSONPath
	equals any // as parseJSON reads it; nil asks for existence only
}

// newJSONPath takes a path as kubectl does: {.a.b}, .a.b or a.b.
func newJSONPath(want protocol.JSONExpect) (jsonPath, error) {
	text := want.Path
	if !strings.HasPrefix(text, "{") {
		text = "{." + strings.TrimPrefix(text, ".") + "}"
	}
	p := jsonPath{text: want.Path, path: jsonpath.New("expect")}
	if err := p.path.Parse(text); err != nil {
		return p, fmt.Errorf("%q is not a JSONPath: %w", want.Path, err)
	}
	if want.Equals == nil {
		return p, nil
	}
	// By way of JSON, so that both sides are made of the same types.
	encoded, err := json.Marshal(want.Equals)
	if err != nil {
		return p, fmt.Errorf("equals of %q: %w", want.Path, err)
	}
	p.equals, err = parseJSON(encoded)
	return p, err
}

// match is nil when the path exists in value and is what is expected. A path
// that matches several places is compared as the list of them.
func (p jsonPath) match(value any) error {
	found, err := p.find(value)
	if err != nil {
		return fmt.Errorf("JSON %s: %w", p.text, err)
	}
	switch {
	case len(found) == 0:
		return fmt.Errorf("JSON %s matches nothing", p.text)
	case p.equals == nil, equalJSON(found, p.equals):
		return nil
	case len(found) > 1:
		return fmt.Errorf("JSON %s is %s, expected %s", p.text, show(found), show(p.equals))
	case equalJSON(found[0], p.equals):
		return nil
	}
	return fmt.Errorf("JSON %s is %s, expected %s", p.text, show(found[0]), show(p.equals))
}

func (p jsonPath) find(value any) (found []any, err error) {
	// The library walks by reflection and was not made for hostile input.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be evaluated: %v", r)
		}
	}()
	results, err := p.path.FindResults(value)
	if err != nil {
		return nil, err
	}
	for _, list := range results {
		for _, v := range list {
			found = append(found, valueOf(v))
		}
	}
	return found, nil
}

// valueOf is what v holds; nil for a JSON null.
func valueOf(v reflect.Value) any {
	if !v.IsValid() || !v.CanInterface() {
		return nil
	}
	return v.Interface()
}

// parseJSON reads one JSON value. Whole numbers that fit are int64, so that
// filters of a path can compare them, and others float64.
func parseJSON(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return numbers(value), nil
}

// numbers replaces every json.Number in a value.
func numbers(value any) any {
	return leaves(value, func(leaf any) any {
		n, _ := leaf.(json.Number)
		if i, err := n.Int64(); err == nil {
			return i
		}
		if f, err := n.Float64(); err == nil {
			return f
		}
		return leaf
	})
}

// equalJSON compares two values of parseJSON, numbers by what they stand for:
// 1 is 1.0. A whole number beyond 2^53 of a configuration has been a float64 on
// its way here, so it stands for all that float64 cannot tell apart from it.
func equalJSON(a, b any) bool {
	return reflect.DeepEqual(leaves(a, float), leaves(b, float))
}

func float(leaf any) any {
	switch v := leaf.(type) {
	case int64:
		return float64(v)
	case json.Number: // beyond float64: an infinity
		f, _ := v.Float64()
		return f
	}
	return leaf
}

// leaves is the value with every value in it changed that is not a map or a list.
func leaves(value any, change func(any) any) any {
	switch v := value.(type) {
	case map[string]any:
		made := make(map[string]any, len(v))
		for key, member := range v {
			made[key] = leaves(member, change)
		}
		return made
	case []any:
		made := make([]any, len(v))
		for i, member := range v {
			made[i] = leaves(member, change)
		}
		return made
	}
	return change(value)
}
