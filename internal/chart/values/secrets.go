package values

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// masked replaces what is secret.
const masked = "***"

const (
	// shortest is from which length on a secret is masked wherever it stands, in bytes;
	// a shorter one is as a word of its own.
	shortest = 4
	// piece is the length of the pieces of a long secret that are masked by
	// themselves, in bytes: a message may show the beginning of it.
	piece = 16
)

// masks find what is secret in a text.
type masks struct {
	long  *strings.Replacer
	short *regexp.Regexp
}

// Mask is the text without what is secret.
func (s Set) Mask(text string) string {
	if s.masks == nil {
		return text
	}
	text = s.masks.long.Replace(text)
	if s.masks.short != nil {
		text = s.masks.short.ReplaceAllLiteralString(text, masked)
	}
	return text
}

// IsSecret reports that some of the values are secret.
func (s Set) IsSecret() bool { return s.masks != nil }

// Secretly are values of which any may be secret, but for those that the app has in the
// clear for the target.
func Secretly(app protocol.AppSpec, target string, all map[string]any) Set {
	clear := map[string]bool{}
	if known, err := StandIns(app, target); err == nil {
		for _, text := range scalars(nil, known.All) {
			clear[text] = true
		}
	}
	secret := slices.DeleteFunc(scalars(nil, all), func(text string) bool { return clear[text] })
	return Set{All: all, masks: newMasks(secret)}
}

// Masked is an error, with its status, whose text and hint tell nothing secret.
func (s Set) Masked(err error) error {
	if err == nil || s.masks == nil {
		return err
	}
	return &protocol.Error{Code: protocol.ExitCode(err), Err: maskedError{s.Mask(err.Error()), err}, Hint: s.Mask(protocol.HintOf(err))}
}

type maskedError struct {
	text string
	err  error
}

func (e maskedError) Error() string { return e.text }

func (e maskedError) Unwrap() error { return e.err }

// scalars are the values that are encrypted in sealed, as texts: all of them where
// sealed has another form. Whether something is true is not a secret.
func scalars(sealed, open any) []string {
	var texts []string
	switch v := open.(type) {
	case map[string]any:
		members, _ := sealed.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			texts = append(texts, scalars(members[key], v[key])...)
		}
	case []any:
		members, _ := sealed.([]any)
		members = append(slices.Clone(members), make([]any, len(v))...)
		for i, member := range v {
			texts = append(texts, scalars(members[i], member)...)
		}
	case nil, bool:
	default:
		text := fmt.Sprint(Whole(v))
		if text != "" && (sealed == nil || isCiphertext(sealed)) {
			texts = append(texts, text)
		}
	}
	return texts
}

// newMasks makes the masks of secrets, in all forms that messages have them in.
func newMasks(secrets []string) *masks {
	known := map[string]bool{}
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			known[form] = true
		}
	}
	longestFirst := slices.SortedFunc(maps.Keys(known), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs, words []string
	for _, form := range longestFirst {
		if len(form) >= shortest {
			pairs = append(pairs, form, masked)
		} else {
			words = append(words, regexp.QuoteMeta(strings.ToValidUTF8(form, "")))
		}
	}
	made := &masks{long: strings.NewReplacer(pairs...)}
	if len(words) > 0 {
		made.short = regexp.MustCompile(`\b(?:` + strings.Join(words, "|") + `)\b`)
	}
	return made
}

// forms are the ways in which messages have a secret: quoted, on one line, line by
// line, encoded as in a Secret, cut.
func forms(secret string) []string {
	all := []string{secret, strings.Join(strings.Fields(secret), " ")}
	for line := range strings.Lines(secret) {
		all = append(all, strings.TrimSpace(line))
	}
	for _, text := range slices.Clone(all) {
		quoted := strconv.Quote(text)
		encoded, _ := json.Marshal(text) // a string always can be
		all = append(all, quoted[1:len(quoted)-1], string(encoded[1:len(encoded)-1]))
	}
	all = append(all, base64.StdEncoding.EncodeToString([]byte(secret)))
	for _, text := range slices.Clone(all) {
		for len(text) > piece {
			all = append(all, text[:piece])
			text = text[piece:]
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return strings.TrimSpace(s) == "" })
}
