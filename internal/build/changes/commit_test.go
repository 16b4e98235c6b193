package changes

import (
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestParse(t *testing.T) {
	for message, want := range map[string]Commit{
		"add a thing":                       {Group: "other", Text: "add a thing"},
		"feat: add a thing":                 {Group: "features", Text: "add a thing"},
		"Feat(api): add a thing\n\nbecause": {Group: "features", Scope: "api", Text: "add a thing"},
		"fix(api,web): it":                  {Group: "fixes", Scope: "api,web", Text: "it"},
		"docs: it":                          {Group: "other", Text: "docs: it"},
		"chore!: drop it":                   {Group: "breaking", Text: "drop it"},
		"feat!: drop it":                    {Group: "breaking", Text: "drop it"},
		"feat: it\n\nBREAKING CHANGE: the port\nmoved\n\nmore":  {Group: "breaking", Text: "it", Breaking: "the port moved"},
		"it\r\n\r\nBREAKING-CHANGE: the port\r\nReviewed-by: x": {Group: "breaking", Text: "it", Breaking: "the port"},
		"feat: it\n\nThis is no BREAKING CHANGE: or is it":      {Group: "features", Text: "it"},
		"feature: it":    {Group: "other", Text: "feature: it"},
		"feat:it":        {Group: "other", Text: "feat:it"},
		"feat(): it":     {Group: "other", Text: "feat(): it"},
		"feat: ":         {Group: "other", Text: "feat:"},
		"":               {Group: "other"},
		"Merge: x: y":    {Group: "other", Text: "Merge: x: y"},
		"\x1b[1mfix: it": {Group: "other", Text: "[1mfix: it"},
	} {
		if got := parse(message); got != want {
			t.Errorf("%q is %+v, want %+v", message, got, want)
		}
	}
}

func TestEscape(t *testing.T) {
	for text, want := range map[string]string{
		"plain text, v1.2 (see #12)": "plain text, v1.2 (see #12)",
		"# heading":                  `\# heading`,
		"- item":                     `\- item`,
		"12. item":                   `12\. item`,
		"12) item":                   `12\) item`,
		"a-b 12. c":                  "a-b 12. c",
		"a_b *c* `d`":                "a\\_b \\*c\\* \\`d\\`",
		"<img src=x> &amp; ![a](b)":  `\<img src=x\> \&amp; \!\[a\](b)`,
		"@all and a@b":               "@<!-- -->all and a@<!-- -->b",
		`a\b`:                        `a\\b`,
	} {
		if got := escape(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// Whatever a commit says, its texts are of one line, harmless, and in a known group.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"feat(a)!: b\n\nBREAKING CHANGE: c", "fix: \x1b[2J", "::error::x", "\u202e", "feat: ::set-output"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message string) {
		c := parse(message)
		if !slices.Contains([]string{groupBreaking, groupFeatures, groupFixes, groupOther}, c.Group) {
			t.Errorf("group %q", c.Group)
		}
		for _, text := range []string{c.Text, c.Scope, c.Breaking} {
			if strings.ContainsFunc(text, unicode.IsControl) || len([]rune(text)) > maxText+1 {
				t.Errorf("%q of %q", text, message)
			}
			escaped := escape(text)
			if at := strings.IndexAny(escaped, "`<["); at == 0 || at > 0 && escaped[at-1] != '\\' && !strings.HasPrefix(escaped[at:], "<!-- -->") {
				t.Errorf("%q is escaped as %q", text, escaped)
			}
		}
	})
}
