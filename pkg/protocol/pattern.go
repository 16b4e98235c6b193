package protocol

import (
	"regexp"
	"sync"
)

// pattern is a regular expression that is compiled when it is first used: a
// program that only hands over to another one does not pay for it.
type pattern func() *regexp.Regexp

func newPattern(expression string) pattern {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

func (p pattern) MatchString(s string) bool { return p().MatchString(s) }
