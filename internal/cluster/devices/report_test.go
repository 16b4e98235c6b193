package devices

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// Whatever a device sends, what is stored of it is short, and of one line.
func FuzzParseReport(f *testing.F) {
	f.Add(`{"revision":"latest@` + published + `","state":"ready","message":"all is well","labels":"tier=canary"}`)
	f.Add(`{"revision":"` + published + `","state":"failed","message":"` + strings.Repeat("é", 400) + `"}`)
	f.Add(`{"revision":"@","state":"\u001b[2J"}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		said, err := ParseReport([]byte(text))
		if err != nil {
			return
		}
		got := said.Of("d", time.Now())
		if !isDigest(got.Digest) || len(got.State) > 32 || utf8.RuneCountInString(got.Message) > maxMessage ||
			strings.ContainsFunc(string(got.State)+got.Message+said.Labels+said.Revision, unicode.IsControl) {
			t.Errorf("%s is stored as %+v, revision %q, labels %q", text, got, said.Revision, said.Labels)
		}
	})
}
