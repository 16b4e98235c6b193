package buildable

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
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
		"main": b.Main != "", "ldflags": len(b.LDFlags) > 0, "tags": len(b.Tags) > 0,
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

// linkerFlag knows the allowed flags. Others can start programs and write files: -extld
// with -linkmode=external, -o, -cpuprofile. A flag that is not a switch takes the next
// word unless it has a value.
func linkerFlag(name string) (isSwitch, known bool) {
	switch name {
	case "X", "buildid":
		return false, true
	case "s", "w", "compressdwarf", "checklinkname":
		return true, true
	}
	return false, false
}

// checkLDFlags refuses what a project may not pass to the linker.
func (o Options) checkLDFlags() error {
	words, err := splitFlags(strings.Join(o.App.Image.Buildable.LDFlags, " "))
	if err != nil {
		return o.invalid("ldflags", "%v", err)
	}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		name, dashed := strings.CutPrefix(word, "-")
		name, value, given := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		isSwitch, known := linkerFlag(name)
		_, err := strconv.ParseBool(value)
		switch {
		case !dashed || !known:
			return o.invalid("ldflags", "%s is not allowed", word).WithHint("allowed: -X, -s, -w, -buildid, -compressdwarf, -checklinkname; cgo is off, so there are no flags for an external linker")
		case given && isSwitch && err != nil:
			return o.invalid("ldflags", "%s must be true or false", word)
		case given || isSwitch:
			continue
		case len(words) == 0 || strings.HasPrefix(words[0], "@"): // the linker would read a file of further flags
			return o.invalid("ldflags", "%s has no value; write -%s=VALUE", word, name)
		}
		words = words[1:]
	}
	return nil
}

// splitFlags splits as the go command does: at blanks, but for words that begin
// with a quotation mark and go to the next one.
func splitFlags(text string) ([]string, error) {
	const blanks = " \t\r\n"
	var words []string
	for text = strings.TrimLeft(text, blanks); text != ""; text = strings.TrimLeft(text, blanks) {
		end, skip := strings.IndexAny(text, blanks), 0
		if quote := text[0]; quote == '"' || quote == '\'' {
			text, skip = text[1:], 1
			if end = strings.IndexByte(text, quote); end < 0 {
				return nil, fmt.Errorf("a quotation mark %c is not closed", quote)
			}
		}
		if end < 0 {
			end = len(text)
		}
		words, text = append(words, text[:end]), text[end+skip:]
	}
	return words, nil
}
