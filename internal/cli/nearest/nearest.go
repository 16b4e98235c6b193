// Package nearest finds the name that was probably meant by a mistyped word.
package nearest

import (
	"strings"

	"github.com/agext/levenshtein"
)

// longest is the longest word, in bytes, that is compared at all.
const longest = 128

// Name returns the one of known that is nearest to word, or "" when none is
// near enough to be worth a guess. Of two that are equally near the first wins.
func Name(word string, known []string) string {
	if word == "" || len(word) > longest {
		return ""
	}
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, name := range known {
		if d := distance(word, name); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance counts edits without regard to case. A word cut short counts as one,
// and so do two letters that changed places.
func distance(word, name string) int {
	word, name = strings.ToLower(word), strings.ToLower(name)
	if len(word) >= 3 && word != name && strings.HasPrefix(name, word) {
		return 1
	}
	if swapped(word, name) {
		return 1
	}
	return levenshtein.Distance(word, name, nil)
}

// swapped reports whether two neighbouring letters are all that differs.
func swapped(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// Hint asks whether the nearest of known was meant; it is otherwise when none is
// near enough.
func Hint(word string, known []string, otherwise string) string {
	if near := Name(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	return otherwise
}
