package protocol

import (
	"errors"
	"strings"
)

// Reference says where a secret is, and stands for it.
type Reference struct {
	// Env is a variable of the environment, or File a path.
	Env, File string
}

// ParseReference reads env:NAME or file:PATH.
func ParseReference(s string) (Reference, error) {
	kind, value, _ := strings.Cut(s, ":")
	switch {
	case kind == "env" && variablePattern.MatchString(value):
		return Reference{Env: value}, nil
	case kind == "file" && value != "" && !strings.ContainsRune(value, 0):
		return Reference{File: value}, nil
	}
	// It may be the secret itself, so it is not shown.
	return Reference{}, errors.New("is neither env:NAME nor file:PATH")
}
