// Package auth finds the credentials for a registry, the same for every
// stage.
//
// They are looked for in this order, and the first that has some is taken:
//
//  1. HARMONY_REGISTRY_USERNAME and a password, for the host of HARMONY_REGISTRY
//  2. the file that REGISTRY_AUTH_FILE names
//  3. docker's config.json, in DOCKER_CONFIG or ~/.docker
//  4. podman's auth.json, in XDG_RUNTIME_DIR, XDG_CONFIG_HOME or ~/.config
//
// In a file, an entry for a repository or a part of its path wins over one for
// the registry, the longest first; then comes the host's credential helper, then
// the helper for all hosts, then the host's entry. A helper that is named but
// fails is an error: nothing weaker is taken in its place.
//
// Credentials go to the host that they are for and, where that registry wants
// tokens, to the token service that it names, which is the protocol of every
// registry client; to nobody else, also not after a redirect.
package auth

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// The environment variables with the credentials of one registry, that of
// Registry; no other registry ever gets them.
const (
	Registry     = "HARMONY_REGISTRY"
	Username     = "HARMONY_REGISTRY_USERNAME"
	Password     = "HARMONY_REGISTRY_PASSWORD"
	PasswordFile = "HARMONY_REGISTRY_PASSWORD_FILE"
)

// Anonymous is the source of no credentials.
const Anonymous = "anonymous"

// Credentials are what a registry gets, and where they were found.
type Credentials struct {
	// Source says where, in words without a secret: a variable, a file, or a
	// helper; Anonymous where there are none.
	Source string
	// Auth is secret.
	Auth authn.AuthConfig
}

// Find looks for the credentials of a repository or a registry. Errors tell what
// is wrong and never a secret.
func Find(ctx context.Context, target authn.Resource) (Credentials, error) {
	return find(ctx, target, os.Getenv)
}

func find(ctx context.Context, target authn.Resource, getenv func(string) string) (Credentials, error) {
	found, ok, err := environment{getenv}.find(target)
	if ok || err != nil {
		return found, err
	}
	for _, path := range files(getenv) {
		f, err := readFile(path)
		if err != nil {
			return Credentials{}, err
		}
		if found, ok, err := f.find(ctx, target); ok || err != nil {
			return found, err
		}
	}
	return Credentials{Source: Anonymous}, nil
}

// Keychain is [Find] for go-containerregistry.
func Keychain() authn.Keychain { return keychain{} }

type keychain struct{}

// Resolve implements [authn.Keychain].
func (k keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext implements [authn.ContextKeychain].
func (keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	found, err := Find(ctx, target)
	if err != nil || found.Source == Anonymous {
		return authn.Anonymous, err
	}
	return authn.FromConfig(found.Auth), nil
}

// environment has the credentials of one host.
type environment struct{ get func(string) string }

func (e environment) find(target authn.Resource) (Credentials, bool, error) {
	host, _, _ := strings.Cut(e.get(Registry), "/")
	username := e.get(Username)
	// One registry may have several names, such as docker.io.
	registry, err := name.NewRegistry(host)
	if host == "" || err != nil || !strings.EqualFold(registry.RegistryStr(), target.RegistryStr()) {
		return Credentials{}, false, nil
	}
	password, err := e.password()
	switch {
	case err != nil:
		return Credentials{}, false, err
	case username == "" && password == "":
		return Credentials{}, false, nil
	case username == "":
		return Credentials{}, false, fmt.Errorf("registry %s: a password is set but %s is not", host, Username)
	case password == "":
		return Credentials{}, false, fmt.Errorf("registry %s: %s is set but neither %s nor %s", host, Username, PasswordFile, Password)
	}
	return Credentials{"environment " + Username, authn.AuthConfig{Username: username, Password: password}}, true, nil
}

func (e environment) password() (string, error) {
	file, password := e.get(PasswordFile), e.get(Password)
	switch {
	case file == "":
		return password, nil
	case password != "":
		return "", fmt.Errorf("both %s and %s are set; remove one", PasswordFile, Password)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", PasswordFile, err)
	}
	password = strings.TrimRight(string(data), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s: %s is empty", PasswordFile, file)
	}
	return password, nil
}
