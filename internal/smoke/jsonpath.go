package smoke

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
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
func parseJSON(text []byte) (value any, err error) {
	err = utiljson.Unmarshal(text, &value)
	return value, err
}

// equalJSON compares two values of parseJSON, numbers by what they stand for:
// 1 is 1.0. A whole number beyond 2^53 of a configuration has been a float64 on
// its way here, so it stands for all that float64 cannot tell apart from it.
func equalJSON(a, b any) bool {
	return reflect.DeepEqual(floats(a), floats(b))
}

// floats is the value with a float64 in the place of every int64.
func floats(value any) any {
	switch v := value.(type) {
	case int64:
		return float64(v)
	case map[string]any:
		made := make(map[string]any, len(v))
		for key, member := range v {
			made[key] = floats(member)
		}
		return made
	case []any:
		made := make([]any, len(v))
		for i, member := range v {
			made[i] = floats(member)
		}
		return made
	}
	return value
}
