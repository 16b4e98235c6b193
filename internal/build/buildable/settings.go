package buildable

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fields refuses the fields of image.buildable that the type does not have: all but
// type and the allowed ones.
func (o Options) fields(allowed ...string) error {
	b := *o.App.Image.Buildable
	set := map[string]bool{
		"folder": b.Folder != "", "settings": len(b.Settings) > 0,
		"main": b.Main != "", "ldflags": len(b.LDFlags) > 0, "tags": len(b.Tags) > 0, "cgo": b.CGO,
		"base": b.Base != "", "files": len(b.Files) > 0, "workingDir": b.WorkingDir != "", "env": len(b.Env) > 0,
		"entrypoint": b.Entrypoint != "", "user": b.User != "", "sbom": b.SBOM,
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] && !slices.Contains(allowed, name) {
			return o.invalid(name, "the type %s has no such field", b.Type).
				WithHint("it has %s", strings.Join(append([]string{"type"}, allowed...), ", "))
		}
	}
	return nil
}

// invalid is an error of a field of image.buildable.
func (o Options) invalid(field, format string, args ...any) *protocol.Error {
	return protocol.Invalid("%s: image.buildable.%s: %s", o.App.Name, field, fmt.Sprintf(format, args...))
}

func (o Options) settings(into any) error {
	b := *o.App.Image.Buildable
	var known []string // in the order of the fields
	for _, field := range reflect.VisibleFields(reflect.TypeOf(into).Elem()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		known = append(known, name)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Settings)) {
		if !slices.Contains(known, name) {
			err := o.invalid("settings."+name, "the type %s has no such setting", b.Type)
			if near := nearest.Name(name, known); near != "" {
				return err.WithHint("did you mean %s?", near)
			}
			return err.WithHint("it has %s", strings.Join(known, ", "))
		}
		// One by one, so that an error names the setting.
		text, err := json.Marshal(map[string]any{name: b.Settings[name]})
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return o.invalid("settings."+name, "want %s, have a %s", wrong.Type, wrong.Value)
		}
		if err != nil {
			return o.invalid("settings."+name, "%v", err)
		}
	}
	return nil
}
