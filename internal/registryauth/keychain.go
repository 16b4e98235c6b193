// Package registryauth finds the credentials for a registry, the same for every
// stage.
package registryauth

import (
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// The environment variables that hold the credentials of one registry, that of
// Registry; no other registry ever gets them.
const (
	Registry     = "HARMONY_REGISTRY"
	Username     = "HARMONY_REGISTRY_USERNAME"
	Password     = "HARMONY_REGISTRY_PASSWORD"
	PasswordFile = "HARMONY_REGISTRY_PASSWORD_FILE"
)

// Keychain resolves a registry's credentials: those of the environment for the
// host of HARMONY_REGISTRY, then those of docker's configuration with its
// credential helpers, else none. Errors tell what is wrong and never a secret.
func Keychain() authn.Keychain {
	return authn.NewMultiKeychain(environment{os.Getenv}, authn.DefaultKeychain)
}

// environment is a keychain for one host.
type environment struct{ get func(string) string }

// Resolve implements [authn.Keychain].
func (e environment) Resolve(target authn.Resource) (authn.Authenticator, error) {
	host, _, _ := strings.Cut(e.get(Registry), "/")
	username := e.get(Username)
	if host == "" || !sameHost(host, target.RegistryStr()) {
		return authn.Anonymous, nil
	}
	password, err := e.password()
	switch {
	case err != nil:
		return nil, err
	case username == "" && password == "":
		return authn.Anonymous, nil
	case username == "":
		return nil, fmt.Errorf("registry %s: a password is set but %s is not", host, Username)
	case password == "":
		return nil, fmt.Errorf("registry %s: %s is set but neither %s nor %s", host, Username, PasswordFile, Password)
	}
	return &authn.Basic{Username: username, Password: password}, nil
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

// sameHost knows the names that one registry has, such as docker.io.
func sameHost(host, target string) bool {
	registry, err := name.NewRegistry(host)
	return err == nil && strings.EqualFold(registry.RegistryStr(), target)
}
