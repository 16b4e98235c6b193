// Package plain makes untrusted text safe to show. It is small because app plugins link
// it.
package plain

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Clean makes an untrusted text safe to show: it removes control characters other than
// line ends and tabs, which could move the cursor or colour the screen, and defuses
// commands of CI systems. All shown text of a registry, a cluster, a plugin or another
// program goes through it.
func Clean(s string) string {
	return Harmless(strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return -1
		}
		return r
	}, s))
}

// Harmless keeps the runners of GitHub, Gitea, Forgejo, Azure and TeamCity from executing
// a text: to them, lines that begin with :: and text that begins with ##[ or ##name[ are
// commands.
func Harmless(s string) string {
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

// Tell prints the error of a command, with its hint.
func Tell(w io.Writer, err error) {
	fmt.Fprintf(w, "error: %s\n", Clean(err.Error()))
	if hint := protocol.HintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", Clean(hint))
	}
}
