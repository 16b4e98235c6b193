package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/nationtech/harmony/internal/cli/process"
)

const (
	// helperTime is how long a credential helper may take: it may ask a person.
	helperTime = time.Minute
	// maxAnswer bounds what it writes, in bytes.
	maxAnswer = 1 << 20
)

// ask runs a credential helper, docker-credential-NAME get. A helper that has
// nothing for the host is no error; one that is not installed is one when it is
// named for this host.
func (f file) ask(ctx context.Context, helper, host string, named bool) (Credentials, bool, error) {
	program := "docker-credential-" + helper
	fail := func(format string, args ...any) (Credentials, bool, error) {
		return Credentials{}, false, fmt.Errorf("registry %s: credential helper %s, which %s names: %w", host, program, f.path, fmt.Errorf(format, args...))
	}
	if strings.ContainsAny(helper, `/\`) {
		return fail("its name contains a path")
	}
	server := host
	if host == "index.docker.io" {
		server = authn.DefaultAuthKey
	}
	ctx, cancel := context.WithTimeout(ctx, helperTime)
	defer cancel()
	stdout, stderr := &process.Buffer{Limit: maxAnswer}, &process.Tail{Limit: maxAnswer}
	err := process.Run(ctx, process.Command{
		Args: []string{program, "get"}, Env: process.WithoutRegistry(), Stdin: strings.NewReader(server), Stdout: stdout, Stderr: stderr,
	})
	switch {
	case errors.Is(err, exec.ErrNotFound) && !named:
		return Credentials{}, false, nil
	case errors.Is(err, exec.ErrNotFound):
		return fail("it is not on the PATH")
	case err != nil && bytes.Contains(stdout.Bytes(), []byte("credentials not found")):
		return Credentials{}, false, nil
	case err != nil:
		// What is on stdout may be a secret.
		return fail("%w %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	var answer struct{ Username, Secret string }
	if json.Unmarshal(stdout.Bytes(), &answer) != nil {
		return fail("its answer is not JSON")
	}
	c := Credentials{Source: "helper " + program, Auth: authn.AuthConfig{Username: answer.Username, Password: answer.Secret}}
	if answer.Username == "<token>" {
		c.Auth = authn.AuthConfig{IdentityToken: answer.Secret}
	}
	return c, answer.Secret != "", nil
}
