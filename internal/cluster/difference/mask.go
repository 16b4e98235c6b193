package difference

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What replaces a secret value: nothing of it is shown but whether it changes.
const (
	masked       = "***"
	maskedBefore = "*** (before)"
	maskedAfter  = "*** (after)"
)

// lastApplied is where kubectl apply keeps a copy of the whole object.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// masked takes the values out of a Secret, and those that look like secrets out of
// all other objects: the values of a HelmRelease, the parameters of an Application,
// a container's environment, a file in a ConfigMap. What is known to be secret is
// taken out with what it replaces.
func (o Object) masked() (map[string]any, map[string]any) {
	a, b := Essence(o.Before), Essence(o.After)
	inA, inB := secrets{}, secrets{}
	whole := isSecret(o.Before) || isSecret(o.After)
	inA.find("", a, whole)
	inB.find("", b, whole)
	if o.Mask != nil {
		inB.known("", b, func(_, text string) bool { return o.Mask(text) != text })
		inA.known("", a, func(path, text string) bool { return inB[path].set != nil || o.Mask(text) != text })
	}
	inA.replace(inB, maskedBefore)
	inB.replace(inA, maskedAfter)
	return a, b
}

func isSecret(object *unstructured.Unstructured) bool {
	return object != nil && object.GetKind() == "Secret" && object.GroupVersionKind().Group == ""
}

// secrets are the places of an object to be masked, by path.
type secrets map[string]place

type place struct {
	value any
	// shown is what is left of a text that holds a secret among other things.
	shown string
	set   func(any)
}

// replace masks all places, and marks those that differ.
func (s secrets) replace(others secrets, mark string) {
	for path, p := range s {
		other, both := others[path]
		changed := both && !reflect.DeepEqual(p.value, other.value)
		switch {
		case p.shown == "" && changed:
			p.set(mark)
		case p.shown == "":
			p.set(masked)
		case changed && p.shown == other.shown:
			p.set(p.shown + mark[len(masked):])
		default:
			p.set(p.shown)
		}
	}
}

// find looks for secrets in an object. whole is true for a Secret, whose fields are
// masked all together.
func (s secrets) find(path string, object map[string]any, whole bool) {
	if object == nil {
		return
	}
	notes, _, _ := unstructured.NestedMap(object, "metadata", "annotations")
	if _, found := notes[lastApplied]; found {
		s[path+"/"+lastApplied] = place{value: "", set: func(v any) {
			_ = unstructured.SetNestedField(object, v, "metadata", "annotations", lastApplied)
		}}
	}
	for _, field := range []string{"data", "stringData"} {
		if !whole {
			break
		}
		if values, ok := object[field].(map[string]any); ok {
			for key, value := range values {
				s[path+"/"+field+"/"+key] = place{value: value, set: func(to any) { values[key] = to }}
			}
		} else if object[field] != nil {
			s[path+"/"+field] = place{value: "", set: func(v any) { object[field] = v }}
		}
	}
	s.walkMap(path, object, false)
}

// known adds the texts and numbers of an object that are secret, each whole.
func (s secrets) known(path string, value any, secret func(path, text string) bool) {
	add := func(path string, member any, set func(any)) {
		switch member.(type) {
		case map[string]any, []any:
			s.known(path, member, secret)
		case nil, bool:
		default:
			if secret(path, fmt.Sprint(member)) {
				s[path] = place{value: member, set: set}
			}
		}
	}
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			add(path+"/"+key, member, func(to any) { v[key] = to })
		}
	case []any:
		for i, member := range v {
			add(fmt.Sprintf("%s/%d", path, i), member, func(to any) { v[i] = to })
		}
	}
}

// walk searches a value. under is true below a key that names secrets.
func (s secrets) walk(path, key string, value any, under bool, set func(any)) {
	switch v := value.(type) {
	case map[string]any:
		s.walkMap(path, v, under || names(key))
	case []any:
		for i, member := range v {
			hidden := under || names(key)
			// A flag can have its value in the next argument: --password, hunter2.
			if i > 0 {
				flag, _ := v[i-1].(string)
				hidden = hidden || strings.HasPrefix(flag, "-") && !strings.Contains(flag, "=") && names(flag)
			}
			s.walk(fmt.Sprintf("%s/%d", path, i), "", member, hidden, func(to any) { v[i] = to })
		}
	case string:
		if v != "" && (names(key) || under && !refers(key)) {
			s[path] = place{value: v, set: set}
		} else if shown := clear(v); shown != v {
			s[path] = place{value: v, shown: shown, set: set}
		}
	case int64, float64:
		if names(key) {
			s[path] = place{value: v, set: set}
		}
	}
}

// walkMap searches the members of a map. One with a name and a value, such as an
// environment variable, is a member by that name.
func (s secrets) walkMap(path string, values map[string]any, under bool) {
	name, _ := values["name"].(string)
	for key, member := range values {
		if _, done := s[path+"/"+key]; done {
			continue
		}
		hidden := under || key == "value" && names(name)
		s.walk(path+"/"+key, key, member, hidden, func(to any) { values[key] = to })
	}
}

// secretName is a part of names of secrets, and reference the end of names of what
// only says where one is.
var (
	secretName = regexp.MustCompile(`passw(or)?d|passphrase|token|secret|credential|api_?key|access_?key|private_?key|signing_?key|encryption_?key|connection_?string|\bdsn\b|authorization|(^|_)(pwd|pass|auth)($|_)`)
	reference  = regexp.MustCompile(`(name|names|namespace|ref|refs|selector|path|file|dir|kind|class|type|mode|policy|version|seconds|ttl|expiry|enabled|mount|store|provider|count|length)$`)
	words      = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// plain is a name in lower case, with its words apart: dbPassword, db.password.
func plain(name string) string {
	name = strings.ToLower(words.ReplaceAllString(name, "${1}_${2}"))
	return strings.Trim(strings.NewReplacer("-", "_", ".", "_", "/", "_").Replace(name), "_")
}

// names reports whether a name is that of a secret, not of a reference to one.
func names(name string) bool {
	p := plain(name)
	return secretName.MatchString(p) && !refers(name) && !strings.HasPrefix(p, "existing")
}

// refers reports the name of a field that says where a secret is, or what else
// about it.
func refers(name string) bool {
	p := plain(name)
	return reference.MatchString(p) || p == "key" || p == "api_version" || p == "optional"
}

// assigned is a secret in a text, such as a file, a flag or JSON; inURL the
// password of a URL.
var (
	assigned = regexp.MustCompile(`(?i)(["']?)([\w.-]*(?:passw(?:or)?d|passphrase|token|secret|credential|api[_-]?key|access[_-]?key|private[_-]?key|connection[_-]?string)[\w.-]*)(["']?[ \t]*[:=][ \t]*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;&"'{}\[\]]+)`)
	inURL    = regexp.MustCompile(`(\w+://[^\s:/@]*:)[^\s/@]+@`)
	pem      = regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|$)`)
)

func clear(text string) string {
	text = assigned.ReplaceAllStringFunc(text, func(found string) string {
		parts := assigned.FindStringSubmatch(found)
		if !names(parts[2]) {
			return found
		}
		return parts[1] + parts[2] + parts[3] + masked
	})
	text = inURL.ReplaceAllString(text, "${1}"+masked+"@")
	return pem.ReplaceAllString(text, "${1}"+masked+"${2}")
}
