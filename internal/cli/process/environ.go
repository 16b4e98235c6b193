package process

import (
	"os"
	"slices"
	"strings"
)

// keepVariable names the variables that children get although their names are
// those of secrets, separated by commas.
const keepVariable = "HARMONY_KEEP_ENV"

// Environ is the environment of this process without its secrets, for a child
// that has no use for them: variables whose names say that they hold a secret,
// but for those that HARMONY_KEEP_ENV names.
func Environ() []string {
	keep := strings.Split(os.Getenv(keepVariable), ",")
	return slices.DeleteFunc(WithoutRegistry(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return secret(strings.ToUpper(name)) && !slices.Contains(keep, name)
	})
}

// WithoutRegistry is the environment of this process without the credentials of
// the registry, for a child that logs in elsewhere.
func WithoutRegistry() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, "HARMONY_REGISTRY_")
	})
}

// secret reports whether a variable holds a secret, by its name. What says where
// an agent listens or how git is configured is none.
func secret(name string) bool {
	if name == "SSH_AUTH_SOCK" || strings.HasPrefix(name, "GIT_CONFIG_") {
		return false
	}
	for _, word := range strings.Split(name, "_") {
		for _, end := range []string{"PASSWORD", "PASSWD", "PASSPHRASE", "TOKEN", "SECRET", "SECRETS", "CREDENTIAL", "CREDENTIALS"} {
			if strings.HasSuffix(word, end) {
				return true
			}
		}
		if slices.Contains([]string{"KEY", "PAT", "AUTH", "PASS"}, word) {
			return true
		}
	}
	return strings.HasSuffix(name, "_PWD")
}
