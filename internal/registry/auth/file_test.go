package auth

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

func basic(user string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))
}

// helperScript is a credential helper that knows one host; like the real ones it
// tells on stdout that it knows nothing.
const helperScript = `#!/bin/sh
read -r host
case "$host" in
HOST) echo '{"ServerURL":"x","Username":"USER","Secret":"` + secret + `"}' ;;
broken.example.com) echo '{"Secret":"` + secret + `"}'; echo "keychain is locked" >&2; exit 1 ;;
*) echo "credentials not found in native keychain"; exit 1 ;;
esac
`

func TestFind(t *testing.T) {
	const host = "registry.example.com"
	basicOf := func(user string) authn.AuthConfig { return authn.AuthConfig{Username: user, Password: secret} }
	tests := []struct {
		name   string
		docker string // docker's config.json
		podman string // podman's auth.json
		named  string // the file of REGISTRY_AUTH_FILE
		target string
		want   authn.AuthConfig
		source string
		err    string
	}{
		{name: "nothing", target: host + "/a/b", source: "anonymous"},
		{name: "auths", docker: `{"auths":{"registry.example.com":{"auth":"` + basic("ci") + `"}}}`, target: host + "/a", want: basicOf("ci"), source: "config.json, entry registry.example.com"},
		{name: "robot", docker: `{"auths":{"registry.example.com":{"auth":"` + basic("robot$fleet+ci") + `"}}}`, target: host + "/a", want: basicOf("robot$fleet+ci"), source: "config.json"},
		{name: "plain fields", docker: `{"auths":{"registry.example.com":{"username":"robot$x","password":"` + secret + `"}}}`, target: host + "/a", want: basicOf("robot$x"), source: "config.json"},
		{name: "URL", docker: `{"auths":{"https://registry.example.com/v1/":{"auth":"` + basic("ci") + `"}}}`, target: host + "/a", want: basicOf("ci"), source: "config.json"},
		{name: "docker.io", docker: `{"auths":{"https://index.docker.io/v1/":{"auth":"` + basic("hub") + `"}}}`, target: "docker.io/a/b", want: basicOf("hub"), source: "config.json"},
		{name: "identity token", docker: `{"auths":{"registry.example.com":{"auth":"` + basic("0000") + `","identitytoken":"` + secret + `"}}}`, target: host + "/a", want: authn.AuthConfig{Username: "0000", IdentityToken: secret}, source: "config.json"},
		{name: "registry token", docker: `{"auths":{"registry.example.com":{"registrytoken":"` + secret + `"}}}`, target: host + "/a", want: authn.AuthConfig{RegistryToken: secret}, source: "config.json"},
		{name: "another host", docker: `{"auths":{"registry.example.com":{"auth":"` + basic("ci") + `"}}}`, target: host + ".evil.org/a", source: "anonymous"},
		{name: "another port", docker: `{"auths":{"registry.example.com":{"auth":"` + basic("ci") + `"}}}`, target: host + ":8443/a", source: "anonymous"},
		{name: "longest path", docker: `{"auths":{"registry.example.com":{"auth":"` + basic("all") + `"},"registry.example.com/a":{"auth":"` + basic("a") + `"},"registry.example.com/a/b":{"auth":"` + basic("ab") + `"}}}`, target: host + "/a/b/c", want: basicOf("ab"), source: "entry registry.example.com/a/b"},
		{name: "path is no prefix of a name", docker: `{"auths":{"registry.example.com":{"auth":"` + basic("all") + `"},"registry.example.com/a":{"auth":"` + basic("a") + `"}}}`, target: host + "/ab", want: basicOf("all"), source: "entry registry.example.com"},
		{name: "path only", docker: `{"auths":{"registry.example.com/a":{"auth":"` + basic("a") + `"}}}`, target: host + "/b", source: "anonymous"},
		{name: "helper of the host", docker: `{"auths":{"registry.example.com":{"auth":"` + basic("file") + `"}},"credHelpers":{"registry.example.com":"known"},"credsStore":"missing"}`, target: host + "/a", want: basicOf("helped"), source: "helper docker-credential-known"},
		{name: "helper with a token", docker: `{"credHelpers":{"registry.example.com":"token"}}`, target: host + "/a", want: authn.AuthConfig{IdentityToken: secret}, source: "helper docker-credential-token"},
		{name: "store", docker: `{"auths":{"registry.example.com":{}},"credsStore":"known"}`, target: host + "/a", want: basicOf("helped"), source: "helper docker-credential-known"},
		{name: "store knows nothing", docker: `{"auths":{"other.example.com":{"auth":"` + basic("file") + `"}},"credsStore":"known"}`, target: "other.example.com/a", want: basicOf("file"), source: "config.json"},
		{name: "store missing, no entry", docker: `{"credsStore":"missing"}`, target: host + "/a", source: "anonymous"},
		{name: "store missing, entry", docker: `{"auths":{"registry.example.com":{}},"credsStore":"missing"}`, target: host + "/a", err: "docker-credential-missing"},
		{name: "helper missing", docker: `{"credHelpers":{"registry.example.com":"missing"}}`, target: host + "/a", err: "not on the PATH"},
		{name: "helper fails", docker: `{"credHelpers":{"broken.example.com":"known"}}`, target: "broken.example.com/a", err: "keychain is locked"},
		{name: "helper is a path", docker: `{"credHelpers":{"registry.example.com":"x/../../evil"}}`, target: host + "/a", err: "contains a path"},
		{name: "podman", podman: `{"auths":{"registry.example.com":{"auth":"` + basic("pod") + `"}}}`, target: host + "/a", want: basicOf("pod"), source: "containers/auth.json"},
		{name: "podman after docker", docker: `{"auths":{"other.example.com":{"auth":"` + basic("x") + `"}}}`, podman: `{"auths":{"registry.example.com/a":{"auth":"` + basic("pod") + `"}}}`, target: host + "/a/b", want: basicOf("pod"), source: "auth.json, entry registry.example.com/a"},
		{name: "named file first", docker: `{"auths":{"registry.example.com":{"auth":"` + basic("docker") + `"}}}`, named: `{"auths":{"registry.example.com":{"auth":"` + basic("named") + `"}}}`, target: host + "/a", want: basicOf("named"), source: "named.json"},
		{name: "no base64", docker: `{"auths":{"registry.example.com":{"auth":"` + secret + `!"}}}`, target: host + "/a", err: "not base64"},
		{name: "no JSON", docker: `{"auths":{"registry.example.com":` + secret, target: host + "/a", err: "syntax error at byte"},
		{name: "wrong type", docker: `{"auths":"` + secret + `"}`, target: host + "/a", err: "wrong type"},
		{name: "empty file", docker: ` `, target: host + "/a", source: "anonymous"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(path, text string, mode os.FileMode) {
				path = filepath.Join(dir, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), mode); err != nil {
					t.Fatal(err)
				}
			}
			if test.docker != "" {
				write("docker/config.json", test.docker, 0o600)
			}
			if test.podman != "" {
				write("run/containers/auth.json", test.podman, 0o600)
			}
			env := map[string]string{"DOCKER_CONFIG": dir + "/docker", "XDG_RUNTIME_DIR": dir + "/run", "HOME": dir + "/home"}
			if test.named != "" {
				write("named.json", test.named, 0o600)
				env["REGISTRY_AUTH_FILE"] = dir + "/named.json"
			}
			write("bin/docker-credential-known", strings.NewReplacer("HOST", host, "USER", "helped").Replace(helperScript), 0o700)
			write("bin/docker-credential-token", strings.NewReplacer("HOST", host, "USER", "<token>").Replace(helperScript), 0o700)
			t.Setenv("PATH", dir+"/bin:/usr/bin:/bin")
			target, err := name.NewRepository(test.target)
			if err != nil {
				t.Fatal(err)
			}
			got, err := find(t.Context(), target, func(key string) string { return env[key] })
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), secret) {
					t.Fatalf("got %v, want %q and no secret", err, test.err)
				}
				return
			}
			if err != nil || got.Auth != test.want || !strings.Contains(got.Source, test.source) || strings.Contains(got.Source, secret) {
				t.Errorf("got %+v, %v; want %+v of %s", got, err, test.want, test.source)
			}
		})
	}
}

func FuzzReadFile(f *testing.F) {
	f.Add([]byte(`{"auths":{"registry.example.com":{"auth":"` + basic("ci") + `"}},"credHelpers":{"a":"b"}}`))
	f.Add([]byte(`{"auths":{"https://registry.example.com/v1/":null}}`))
	target, err := name.NewRepository("registry.example.com/a/b")
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "config.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", "")
		read, err := readFile(path)
		if err != nil {
			return
		}
		if c, ok, err := read.find(t.Context(), target); ok && err == nil && c.Auth == (authn.AuthConfig{}) {
			t.Errorf("%q gives credentials that are empty", data)
		}
	})
}
