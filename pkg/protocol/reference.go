package protocol

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reference says where a secret is, and stands for it.
type Reference struct {
	// Env is a variable of the environment, or File a path.
	Env, File string
}

var variablePattern = newPattern(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ParseReference reads env:NAME or file:PATH.
func ParseReference(s string) (Reference, error) {
	kind, value, _ := strings.Cut(s, ":")
	switch {
	case kind == "env" && variablePattern.MatchString(value):
		return Reference{Env: value}, nil
	case kind == "file" && value != "" && !strings.ContainsRune(value, 0):
		return Reference{File: value}, nil
	}
	// What stands there may be the secret itself, so it is not shown.
	return Reference{}, fmt.Errorf("is neither env:NAME nor file:PATH")
}

// validateReferences looks at what a Dockerfile takes by reference.
func (d Dockerfile) validateReferences(p *problems, field string) {
	for what, references := range map[string]map[string]string{"secrets": d.Secrets, "ssh": d.SSH} {
		for _, id := range slices.Sorted(maps.Keys(references)) {
			if _, err := ParseReference(references[id]); err != nil {
				p.add(fmt.Sprintf("%s.%s.%s", field, what, id), "%v; the value itself has no place here", err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Contexts)) {
		at := fmt.Sprintf("%s.contexts.%s", field, name)
		kind, _, isReference := strings.Cut(d.Contexts[name], ":")
		switch {
		case d.Contexts[name] == "":
			p.add(at, "is empty; want a folder or docker-image://NAME")
		case !isReference:
			validatePath(p, at, d.Contexts[name])
		case kind != "docker-image":
			p.add(at, "%q is not a folder or docker-image://NAME", d.Contexts[name])
		}
	}
}
