package protocol

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// FieldError is one problem of a document, at a field.
type FieldError struct {
	// Field is the path from the document's root: spec.smoke[1].http.port.
	Field string
	// Problem says what is wrong and what would be right.
	Problem string
}

// Error implements error.
func (e FieldError) Error() string { return e.Field + ": " + e.Problem }

// FieldErrors are all the problems of a document.
type FieldErrors []FieldError

// Error implements error: a line for each problem.
func (e FieldErrors) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// pattern is a regular expression that is compiled when it is first used: a
// program that only hands over to another one does not pay for it.
type pattern func() *regexp.Regexp

func newPattern(expression string) pattern {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

func (p pattern) MatchString(s string) bool { return p().MatchString(s) }

var (
	labelPattern     = newPattern(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	subdomainPattern = newPattern(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	variablePattern  = newPattern(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// ValidName reports whether s can name an app or a target: a DNS label (RFC
// 1123) of at most 53 characters, the limit of a Helm release's name.
func ValidName(s string) bool { return len(s) <= 53 && labelPattern.MatchString(s) }

type problems struct{ found FieldErrors }

func (p *problems) add(field, format string, args ...any) {
	p.found = append(p.found, FieldError{field, fmt.Sprintf(format, args...)})
}

func (p *problems) must(ok bool, field, format string, args ...any) {
	if !ok {
		p.add(field, format, args...)
	}
}

// err is nil when nothing was found: a FieldErrors in an error would not be.
func (p *problems) err() error {
	if len(p.found) == 0 {
		return nil
	}
	slices.SortStableFunc(p.found, func(x, y FieldError) int { return strings.Compare(x.Field, y.Field) })
	return p.found
}

// one requires exactly one of several fields.
func (p *problems) one(field, names string, set ...bool) {
	count := 0
	for _, isSet := range set {
		if isSet {
			count++
		}
	}
	p.must(count == 1, field, "needs exactly one of %s", names)
}

// distinct requires that no item has the name of an earlier one.
func distinct[T any](p *problems, field, what string, items []T, name func(T) string) {
	seen := map[string]bool{}
	for i, item := range items {
		p.must(!seen[name(item)], fmt.Sprintf("%s[%d].name", field, i), "%q is also the name of an earlier %s", name(item), what)
		seen[name(item)] = true
	}
}

// once requires that a word of a list does not occur before i.
func (p *problems) once(field string, words []string, i int) {
	p.must(!slices.Contains(words[:i], words[i]), field, "%q is named twice", words[i])
}

func (p *problems) name(field, what, name string) {
	p.must(ValidName(name), field, "%q is not %s name: lower-case letters, digits and dashes, at most 53", name, what)
}

// plugin checks the name of an executable; it may be empty.
func (p *problems) plugin(field, name string) {
	p.must(name == "" || strings.HasPrefix(name, "harmony-") && labelPattern.MatchString(name), field,
		"%q is not a plugin's name: harmony- and lower-case letters, digits and dashes", name)
}

// object checks the name of a Kubernetes object.
func (p *problems) object(field, name string) {
	p.must(len(name) <= 253 && subdomainPattern.MatchString(name), field, "%q is not the name of an object: lower-case letters, digits, dashes and dots", name)
}

func (p *problems) namespace(field, name string) {
	p.must(labelPattern.MatchString(name), field, "%q is not a namespace", name)
}

// among requires one of several words; empty is the default.
func (p *problems) among(field, word string, words ...string) {
	p.must(word == "" || slices.Contains(words, word), field, "%q is not one of %s", word, strings.Join(words, ", "))
}

func (p *problems) notNegative(field string, n int64) { p.must(n >= 0, field, "is negative") }

// port checks a port number; zero is the default.
func (p *problems) port(field string, n int) {
	p.must(n >= 0 && n <= 65535, field, "%d is not a port", n)
}

// urlPath checks the path of a URL; it may be empty.
func (p *problems) urlPath(field, path string) {
	p.must(path == "" || strings.HasPrefix(path, "/"), field, "%q does not begin with /", path)
}

// local requires a path inside the project: relative, and without a way up.
func (p *problems) local(field, path string) {
	p.must(path == "" || filepath.IsLocal(path), field, "%q leads out of the project: a path is relative and does not climb with ..", path)
}

// url requires an absolute URL of http or https without credentials.
func (p *problems) url(field, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		p.add(field, "%q is not an absolute http or https URL", text)
	case u.User != nil:
		p.add(field, "contains credentials; a document must not")
	}
}

// registry requires a registry with an optional prefix; it may be empty.
func (p *problems) registry(field, url string) {
	scheme, _, hasScheme := strings.Cut(url, "://")
	host, prefix, hasPrefix := strings.Cut(url, "/")
	switch {
	case url == "":
	case hasScheme:
		p.add(field, "%q has the scheme %s://; a registry is named without one: registry.example.com/fleet", url, scheme)
	case !registryPattern.MatchString(host) || hasPrefix && !repositoryPattern.MatchString(prefix):
		p.add(field, "%q is not a registry with an optional prefix, such as registry.example.com/fleet", url)
	}
}
