package term

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/nationtech/harmony/internal/cli/plain"
)

// Clean makes an untrusted text safe to show; see [plain.Clean].
func Clean(s string) string { return plain.Clean(s) }

// OneLine is an untrusted text, cleaned, in one line.
func OneLine(s string) string {
	return Clean(strings.Join(strings.Fields(Clean(s)), " "))
}

// Excerpt is OneLine, cut to a number of characters.
func Excerpt(s string, most int) string {
	s = OneLine(s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// Listed writes lines below a message, at most so many.
func Listed(lines []string, most int) string {
	text := ""
	for _, line := range lines[:min(len(lines), most)] {
		text += "\n  " + strings.ReplaceAll(line, "\n", "\n    ")
	}
	if more := len(lines) - most; more > 0 {
		text += fmt.Sprintf("\n  and %d more", more)
	}
	return text
}

// FirstLine is the first line of an untrusted text that is not blank.
func FirstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(Clean(s)), "\n")
	return OneLine(line)
}

// WriteJSON writes a value for people and jq: indented, without HTML escapes.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// annotation escapes a message for GitHub's workflow commands, and property the
// value of one of their properties.
func annotation(s string) string {
	return strings.NewReplacer("%", "%25", "\n", "%0A").Replace(Clean(s))
}

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(annotation(s))
}

// palette colours text when it is on.
type palette struct{ on bool }

// coloured is a cleaned text with the escapes of a palette.
type coloured string

func (p palette) paint(code, s string) coloured {
	s = Clean(s)
	if !p.on {
		return coloured(s)
	}
	return coloured("\x1b[" + code + "m" + s + "\x1b[0m")
}

func (p palette) green(s string) coloured  { return p.paint("32", s) }
func (p palette) red(s string) coloured    { return p.paint("31", s) }
func (p palette) yellow(s string) coloured { return p.paint("33", s) }
func (p palette) bold(s string) coloured   { return p.paint("1", s) }
func (p palette) dim(s string) coloured    { return p.paint("2", s) }

// Tell prints the error of a command, with its hint.
func Tell(w io.Writer, err error) { plain.Tell(w, err) }

// Warn prints a warning.
func Warn(w io.Writer, text string) { fmt.Fprintf(w, "warning: %s\n", Clean(text)) }
