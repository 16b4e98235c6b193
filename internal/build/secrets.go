package build

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// readable is the environment variable that lists what the secrets of a
// Dockerfile may be, beside files of the project: names of variables, and
// absolute paths of files and folders, with commas between them. It is not a
// field of harmony.yaml: who writes that one, in a pull request for example,
// would grant himself what he asks for.
const readable = "HARMONY_BUILD_SECRETS"

// permit refuses what a RUN must not get to see: harmony's own credentials, files
// outside of the project and, where the variable is set, any variable that is not
// in it.
func (s *projectSource) permit(at protocol.Reference) error {
	text, limited := os.LookupEnv(readable)
	listed := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
	switch {
	case slices.Contains([]string{auth.Username, auth.Password, auth.PasswordFile}, at.Env):
		return protocol.Invalid("%s contains harmony's own credentials", at.Env).WithHint("give the build its own variable and account")
	case at.Env != "" && limited && !slices.Contains(listed, at.Env):
		return protocol.Invalid("%s does not list the variable %s", readable, at.Env).WithHint("set %s=%s, where the build is started", readable, at.Env)
	case at.Env != "" || below(s.root, at.File) || slices.ContainsFunc(listed, func(allowed string) bool { return below(allowed, at.File) }):
		return nil
	}
	return protocol.Invalid("the file %s is outside of the project", at.File).WithHint("set %s=%s, where the build is started", readable, at.File)
}

// below reports whether a file is the allowed one, or in the allowed folder,
// whatever links lead there.
func below(allowed, file string) bool {
	realAllowed, err1 := filepath.EvalSymlinks(allowed)
	realFile, err2 := filepath.EvalSymlinks(file)
	if err1 == nil && err2 == nil { // a missing one is reported when it is opened
		allowed, file = realAllowed, realFile
	}
	rel, err := filepath.Rel(allowed, file)
	return filepath.IsAbs(allowed) && err == nil && filepath.IsLocal(rel)
}
