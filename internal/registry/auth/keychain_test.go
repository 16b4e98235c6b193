package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

const secret = "s3cr3t-of-the-test"

func TestKeychain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	const host = "registry.example.com:5000"
	tests := []struct {
		name                                         string
		registry, username, password, file, resolved string
		want                                         authn.AuthConfig
		err                                          string
	}{
		{name: "nothing set", resolved: host},
		{name: "password", registry: host + "/fleet", username: "ci", password: secret, resolved: host, want: authn.AuthConfig{Username: "ci", Password: secret}},
		{name: "file", registry: host, username: "robot$p+ci", file: file, resolved: host, want: authn.AuthConfig{Username: "robot$p+ci", Password: secret}},
		{name: "docker.io", registry: "docker.io", username: "ci", password: secret, resolved: "index.docker.io", want: authn.AuthConfig{Username: "ci", Password: secret}},
		{name: "another host", registry: host, username: "ci", password: secret, resolved: "evil.example.com:5000"},
		{name: "another port", registry: host, username: "ci", password: secret, resolved: "registry.example.com"},
		{name: "longer host", registry: "registry.example.com", username: "ci", password: secret, resolved: "registry.example.com.evil.org"},
		{name: "no registry", username: "ci", password: secret, resolved: host},
		{name: "no user", registry: host, password: secret, resolved: host, err: "HARMONY_REGISTRY_USERNAME is not"},
		{name: "no password", registry: host, username: "ci", resolved: host, err: "neither HARMONY_REGISTRY_PASSWORD_FILE nor"},
		{name: "both", registry: host, username: "ci", password: secret, file: file, resolved: host, err: "both"},
		{name: "no such file", registry: host, username: "ci", file: file + "x", resolved: host, err: "no such file"},
		{name: "empty file", registry: host, username: "ci", file: os.DevNull, resolved: host, err: "is empty"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(Registry, test.registry)
			t.Setenv(Username, test.username)
			t.Setenv(Password, test.password)
			t.Setenv(PasswordFile, test.file)
			target, err := name.NewRegistry(test.resolved)
			if err != nil {
				t.Fatal(err)
			}
			auth, err := Keychain().Resolve(target)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), secret) {
					t.Fatalf("got %v, want %q and no secret", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := auth.Authorization()
			if err != nil || *got != test.want {
				t.Errorf("got %+v, %v; want %+v", *got, err, test.want)
			}
		})
	}
}
