package term

import (
	"encoding/json"
	"io"
	"strings"
	"unicode"
)

// Clean makes a text from elsewhere fit to be shown: it takes out control
// characters, but for line ends and tabs, which could move the cursor or colour
// the screen, and marks what a CI system would take for a command. Whatever is
// shown of a registry, a cluster, a plugin or another program goes through it.
func Clean(s string) string {
	return harmless(strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return -1
		}
		return r
	}, s))
}

// harmless keeps the runners of GitHub, Gitea, Forgejo, Azure and TeamCity from
// obeying a text: they take lines that begin with :: and what begins with ##[ or
// ##name[ for commands.
func harmless(s string) string {
	if !strings.Contains(s, "::") && !strings.Contains(s, "##") {
		return s
	}
	lines := strings.Split(strings.NewReplacer("##[", "# #[", "##vso[", "# #vso[", "##teamcity[", "# #teamcity[").Replace(s), "\n")
	for i, line := range lines {
		if text := strings.TrimLeftFunc(line, unicode.IsSpace); strings.HasPrefix(text, "::") {
			lines[i] = strings.TrimSuffix(line, text) + "| " + text
		}
	}
	return strings.Join(lines, "\n")
}

// OneLine is a text from elsewhere, cleaned, in one line.
func OneLine(s string) string {
	return harmless(strings.Join(strings.Fields(Clean(s)), " "))
}

// Excerpt is OneLine, cut to a number of characters.
func Excerpt(s string, most int) string {
	s = OneLine(s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// FirstLine is the first line of a text from elsewhere that is not blank.
func FirstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(Clean(s)), "\n")
	return OneLine(line)
}

// WriteJSON writes a value for a person or jq: indented, as it is.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
