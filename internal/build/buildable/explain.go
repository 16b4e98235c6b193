package buildable

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// explain is the output of the go command, without its long arguments and without
// credentials in URLs.
func explain(err error) error {
	var failure *process.Error
	if !errors.As(err, &failure) {
		return err
	}
	output := withoutCredentials(bytes.TrimSpace(failure.Output))
	failed := fmt.Errorf("%w\n%s", failure.Err, output)
	has := func(text string) bool { return bytes.Contains(output, []byte(text)) }
	switch {
	case has("unsupported GOOS/GOARCH"):
		return protocol.Invalid("%s", output)
	case slices.ContainsFunc(privateSigns(), has):
		return (&protocol.Error{Code: protocol.ExitFailed, Err: failed}).
			WithHint("if the module is private, name it in GOPRIVATE and let git or ~/.netrc log in: what go build can fetch here, harmony can")
	case has("inconsistent vendoring"):
		return (&protocol.Error{Code: protocol.ExitFailed, Err: failed}).WithHint("run go mod vendor, or go work vendor, and commit the result")
	}
	return failed
}

// privateSigns are what git, proxies and the checksum database say of a module that
// they do not let this user see.
func privateSigns() []string {
	return []string{
		"terminal prompts disabled", "could not read Username", "Authentication failed", "Permission denied (publickey",
		"401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone", "Repository not found",
		"no secure protocol found for repository", "unrecognized import path",
	}
}

// withoutCredentials replaces the user and password of URLs.
func withoutCredentials(text []byte) []byte {
	return regexp.MustCompile(`(://)[^/@\s"']+@`).ReplaceAll(text, []byte("${1}***@"))
}
