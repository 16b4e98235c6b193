package changes

import (
	"regexp"
	"strings"

	"github.com/nationtech/harmony/internal/cli/term"
)

// Commit is one commit of a changelog. Its texts are safe to show, and of one line.
type Commit struct {
	// Commit is its hash.
	Commit string `json:"commit"`
	// Date is when it was written, in the form of RFC 3339.
	Date   string `json:"date"`
	Author string `json:"author"`
	// Group is one of breaking, features, fixes and other.
	Group string `json:"group"`
	// Scope is that of a conventional commit.
	Scope string `json:"scope,omitempty"`
	// Text is the subject, without type and scope in the groups breaking, features and
	// fixes.
	Text string `json:"text"`
	// Breaking says what breaks, if the message has more to say of it than the subject.
	Breaking string `json:"breaking,omitempty"`
}

// The groups of a changelog.
const (
	groupBreaking = "breaking"
	groupFeatures = "features"
	groupFixes    = "fixes"
	groupOther    = "other"
)

// heading matches the first line of a conventional commit: type, scope, an exclamation mark
// and the description.
var heading = regexp.MustCompile(`^([A-Za-z]+)(?:\(([^()]+)\))?(!)?: +(\S.*)$`)

// breakingNote matches the footer of a conventional commit that breaks something, up to
// the next footer or blank line.
var breakingNote = regexp.MustCompile(`(?m)^BREAKING[ -]CHANGE: *(.*(?:\n[^\n]+)*)`)

// footer matches a line that begins another footer.
var footer = regexp.MustCompile(`\n[A-Za-z][A-Za-z-]*(?:: | #)`)

// maxText is how many characters of a text are shown.
const maxText = 500

// parse reads a commit's message, which may be a conventional commit or not.
func parse(message string) Commit {
	message = strings.TrimSpace(strings.ReplaceAll(message, "\r\n", "\n"))
	subject, body, _ := strings.Cut(message, "\n")
	c := Commit{Group: groupOther, Text: term.Excerpt(subject, maxText)}
	breaks := false
	if note := breakingNote.FindStringSubmatch(body); note != nil {
		text := note[1]
		if at := footer.FindStringIndex(text); at != nil {
			text = text[:at[0]]
		}
		breaks, c.Breaking = true, term.Excerpt(text, maxText)
	}
	parts := heading.FindStringSubmatch(term.OneLine(subject))
	if parts == nil {
		if breaks {
			c.Group = groupBreaking
		}
		return c
	}
	switch kind := strings.ToLower(parts[1]); {
	case breaks || parts[3] != "":
		c.Group = groupBreaking
	case kind == "feat":
		c.Group = groupFeatures
	case kind == "fix":
		c.Group = groupFixes
	default:
		return c
	}
	c.Scope, c.Text = term.Excerpt(parts[2], maxText), term.Excerpt(parts[4], maxText)
	return c
}

// escape makes a text of one line mean itself in Markdown, and mention nobody on a forge.
func escape(text string) string {
	var out strings.Builder
	for i, c := range text {
		switch {
		case strings.ContainsRune("\\`*_[]<>|~&!{}$", c), i == 0 && strings.ContainsRune("#+-=", c):
			out.WriteByte('\\')
			out.WriteRune(c)
		case c == '@':
			out.WriteString("@<!-- -->")
		case (c == '.' || c == ')') && i > 0 && strings.Trim(text[:i], "0123456789") == "": // a list's number
			out.WriteByte('\\')
			out.WriteRune(c)
		default:
			out.WriteRune(c)
		}
	}
	return out.String()
}
