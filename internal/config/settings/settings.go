// Package settings reads the settings that a topology gives to an adapter: each
// adapter has one table of names and setters.
package settings

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Setter takes the value of the setting at a path, such as tls.cert. Its error
// begins with the path.
type Setter func(path string, value any) error

// Table has the setter of each setting.
type Table map[string]Setter

// Of reads the settings of an adapter; section is the topology's field for its
// capability, such as ociRegistry.
func Of(env capability.Environment, section string, table Table) error {
	if err := Read(env.Provider.Settings, table); err != nil {
		return fmt.Errorf("topology %q: spec.%s.settings: %w", env.Topology.Name, section, err)
	}
	return nil
}

// Read passes each setting to its setter, sorted by name, so that the same mistakes lead
// to the same error. Errors have the status protocol.ExitInvalid.
func Read(from map[string]any, table Table) error { return table.read("", from) }

func (t Table) read(prefix string, from map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(from)) {
		set, known := t[name]
		if !known {
			known := slices.Sorted(maps.Keys(t))
			hint := "known settings: " + strings.Join(known, ", ")
			if near := nearest.Name(name, known); near != "" {
				hint = fmt.Sprintf("did you mean %q? %s", near, hint)
			}
			return protocol.Invalid("%s%s is not a setting of this adapter", prefix, name).WithHint("%s", hint)
		}
		if err := set(prefix+name, from[name]); err != nil {
			return err
		}
	}
	return nil
}

func must(path, what string, value any) error {
	return protocol.Invalid("%s must be %s, not %v", path, what, value)
}

// as takes a value of type T that is fit; what describes such values.
func as[T any](what string, into *T, fit func(T) bool) Setter {
	return func(path string, value any) error {
		given, ok := value.(T)
		if !ok || fit != nil && !fit(given) {
			return must(path, what, value)
		}
		*into = given
		return nil
	}
}

// Text takes a string that is not empty.
func Text(into *string) Setter {
	return as("a string", into, func(text string) bool { return text != "" })
}

// Bool takes true or false.
func Bool(into *bool) Setter { return as("true or false", into, nil) }

// Whole takes a whole number of at least the least.
func Whole(into *int, least int) Setter {
	return func(path string, value any) error {
		n, ok := whole(value)
		if !ok || n < least {
			return must(path, fmt.Sprintf("a whole number of %d or more", least), value)
		}
		*into = n
		return nil
	}
}

// whole is a number from a Go program, YAML or JSON.
func whole(value any) (int, bool) {
	switch n := value.(type) {
	case int:
		return n, true
	case int64:
		return int(n), true
	case float64:
		return int(n), n == math.Trunc(n) && math.Abs(n) < 1<<31
	}
	return 0, false
}

// Duration takes a time span such as 5m, in whole milliseconds.
func Duration(into *time.Duration) Setter {
	return func(path string, value any) error {
		text, _ := value.(string)
		given, err := time.ParseDuration(text)
		if err != nil || given <= 0 || given%time.Millisecond != 0 {
			return must(path, "a duration such as 5m", value)
		}
		*into = given
		return nil
	}
}

// OneOf takes one of the words.
func OneOf[T ~string](into *T, words ...T) Setter {
	return func(path string, value any) error {
		text, ok := value.(string)
		if !ok || !slices.Contains(words, T(text)) {
			return must(path, "one of "+strings.ReplaceAll(strings.Trim(fmt.Sprint(words), "[]"), " ", ", "), value)
		}
		*into = T(text)
		return nil
	}
}

// Chosen takes one of two words, the first of which means true.
func Chosen(into *bool, yes, no string) Setter {
	return func(path string, value any) error {
		var word string
		if err := OneOf(&word, yes, no)(path, value); err != nil {
			return err
		}
		*into = word == yes
		return nil
	}
}

// List takes a list of strings that are all fit; what describes them.
func List(into *[]string, what string, fit func(string) bool) Setter {
	return func(path string, value any) error {
		list, ok := value.([]any)
		if !ok {
			return must(path, "a list", value)
		}
		for _, member := range list {
			text, ok := member.(string)
			if !ok || !fit(text) {
				return must(path, "a list of "+what, member)
			}
			*into = append(*into, text)
		}
		return nil
	}
}

// Raw takes a list or a mapping as it is: []any or map[string]any.
func Raw[T []any | map[string]any](into *T) Setter {
	if _, isList := any(*into).([]any); isList {
		return as("a list", into, nil)
	}
	return as("a mapping", into, nil)
}

// Labels takes a mapping of strings that are all fit; what describes them.
func Labels(into *map[string]string, what string, fit func(name, value string) bool) Setter {
	return func(path string, value any) error {
		given, ok := value.(map[string]any)
		if !ok {
			return must(path, "a mapping of "+what, value)
		}
		*into = map[string]string{}
		for _, name := range slices.Sorted(maps.Keys(given)) {
			text, ok := given[name].(string)
			if !ok || !fit(name, text) {
				return must(path+"."+name, what, given[name])
			}
			(*into)[name] = text
		}
		return nil
	}
}

// Mapping takes settings within a setting, with their own table.
func Mapping(table Table) Setter {
	return func(path string, value any) error {
		var given map[string]any
		if err := Raw(&given)(path, value); err != nil {
			return err
		}
		return table.read(path+".", given)
	}
}
