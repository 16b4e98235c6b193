package buildable

import (
	"fmt"
	"strconv"
	"strings"
)

// linkerFlag knows the flags of the app's ldflags. Others can start programs and
// write files: -extld with -linkmode=external, -o, -cpuprofile. One that is not a
// switch takes the next word where it has no value of its own.
func linkerFlag(name string) (isSwitch, known bool) {
	switch name {
	case "X", "buildid":
		return false, true
	case "s", "w", "compressdwarf", "checklinkname":
		return true, true
	}
	return false, false
}

// checkLDFlags refuses what the linker is not to be told by a project.
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
