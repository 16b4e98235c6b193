package buildable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fields refuses the fields of image.buildable that the type does not have, and
// paths that lead out of the project. Type and the named ones are allowed.
func (o Options) fields(allowed ...string) error {
	b := *o.App.Image.Buildable
	set := map[string]bool{
		"folder": b.Folder != "", "settings": len(b.Settings) > 0,
		"main": b.Main != "", "ldflags": len(b.LDFlags) > 0, "tags": len(b.Tags) > 0,
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] && !slices.Contains(allowed, name) {
			return o.invalid(name, "the type %s has no such field", b.Type).
				WithHint("it has %s", strings.Join(append([]string{"type"}, allowed...), ", "))
		}
	}
	return errors.Join(o.local("folder", b.Folder), o.local("main", b.Main))
}

// local refuses a path that leads out of the project.
func (o Options) local(field, path string) error {
	if path == "" || filepath.IsLocal(path) {
		return nil
	}
	return o.invalid(field, "the path %q leads out of the project", path)
}

// invalid is an error of a field of image.buildable.
func (o Options) invalid(field, format string, args ...any) *protocol.Error {
	return protocol.Invalid("%s: image.buildable.%s: %s", o.App.Name, field, fmt.Sprintf(format, args...))
}

// settings decodes image.buildable.settings into a struct.
func (o Options) settings(into any) error {
	b := *o.App.Image.Buildable
	known := jsonNames(reflect.TypeOf(into).Elem())
	for _, name := range slices.Sorted(maps.Keys(b.Settings)) {
		if slices.Contains(known, name) {
			continue
		}
		err := o.invalid("settings."+name, "the type %s has no such setting", b.Type)
		if near := nearest.Name(name, known); near != "" {
			return err.WithHint("did you mean %s?", near)
		}
		return err.WithHint("it has %s", strings.Join(known, ", "))
	}
	// One by one, so that an error names the setting.
	for _, name := range slices.Sorted(maps.Keys(b.Settings)) {
		text, err := json.Marshal(map[string]any{name: b.Settings[name]})
		if err == nil {
			err = json.NewDecoder(bytes.NewReader(text)).Decode(into)
		}
		if err != nil {
			return o.invalid("settings."+name, "%s", wrongType(err))
		}
	}
	return nil
}

func wrongType(err error) string {
	if e, ok := err.(*json.UnmarshalTypeError); ok { //nolint:errorlint // what encoding/json returns as it is
		return fmt.Sprintf("want %s, have a %s", e.Type, e.Value)
	}
	return err.Error()
}

// jsonNames are the names of a struct's fields in JSON, in their order.
func jsonNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
