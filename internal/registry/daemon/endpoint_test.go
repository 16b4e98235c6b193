package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// variables is an environment.
func variables(pairs ...string) func(string) string {
	all := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return all[name] }
}

// addContext writes a docker context as docker context create does.
func addContext(t *testing.T, dir, name, host string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	put(t, filepath.Join(dir, "contexts/meta", id, "meta.json"),
		fmt.Sprintf(`{"Name":%q,"Metadata":{},"Endpoints":{"docker":{"Host":%q,"SkipTLSVerify":false}}}`, name, host))
	return filepath.Join(dir, "contexts/tls", id, "docker")
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEndpoints(t *testing.T) {
	home := t.TempDir()
	config := filepath.Join(home, ".docker")
	addContext(t, config, "remote", "ssh://me@build.example.com:2222")
	addContext(t, config, "other", "tcp://10.0.0.1:2375")
	addContext(t, config, "pipe", "npipe:////./pipe/docker_engine")
	current := t.TempDir()
	put(t, filepath.Join(current, "config.json"), `{"currentContext":"remote","auths":{}}`)
	addContext(t, current, "remote", "unix:///run/remote.sock")
	broken := t.TempDir()
	put(t, filepath.Join(broken, "config.json"), `{"currentContext":`)
	fallback := t.TempDir()
	put(t, filepath.Join(fallback, "config.json"), `{"currentContext":"default"}`)
	const usually = "unix:///var/run/docker.sock unix:///run/podman/podman.sock"
	tests := []struct {
		name string
		env  []string
		want string // addresses, or a part of the error
		from string
		code int
	}{
		{"nothing", []string{"HOME", home}, usually, "", 0},
		{"a session", []string{"HOME", home, "XDG_RUNTIME_DIR", "/run/user/1"}, "unix:///var/run/docker.sock unix:///run/user/1/docker.sock unix:///run/user/1/podman/podman.sock unix:///run/podman/podman.sock", "", 0},
		{"a relative session", []string{"HOME", home, "XDG_RUNTIME_DIR", "x"}, usually, "", 0},
		{"host", []string{"HOME", home, "DOCKER_HOST", "unix:///x.sock", "DOCKER_CONTEXT", "remote"}, "unix:///x.sock", "DOCKER_HOST", 0},
		{"context variable", []string{"HOME", home, "DOCKER_CONTEXT", "other"}, "tcp://10.0.0.1:2375", "docker context other", 0},
		{"context variable over file", []string{"HOME", home, "DOCKER_CONFIG", current, "DOCKER_CONTEXT", "default"}, usually, "", 0},
		{"current context", []string{"HOME", home, "DOCKER_CONFIG", current}, "unix:///run/remote.sock", "docker context remote", 0},
		{"default context", []string{"HOME", home, "DOCKER_CONFIG", fallback}, usually, "", 0},
		{"ssh", []string{"HOME", home, "DOCKER_CONTEXT", "remote"}, "ssh://me@build.example.com:2222", "docker context remote", 0},
		{"no such context", []string{"HOME", home, "DOCKER_CONTEXT", "lost"}, `docker context "lost", which DOCKER_CONTEXT names, does not exist`, "", protocol.ExitInvalid},
		{"broken file", []string{"HOME", home, "DOCKER_CONFIG", broken}, "config.json: unexpected end of JSON", "", protocol.ExitInvalid},
		{"pipe of Windows", []string{"HOME", home, "DOCKER_CONTEXT", "pipe"}, "named pipe of Windows", "", protocol.ExitUnsupported},
		{"no scheme", []string{"HOME", home, "DOCKER_HOST", "/var/run/docker.sock"}, "must be unix:///PATH", "", protocol.ExitInvalid},
		{"relative socket", []string{"HOME", home, "DOCKER_HOST", "unix://docker.sock"}, "must be unix:///PATH", "", protocol.ExitInvalid},
		{"a password", []string{"HOME", home, "DOCKER_HOST", "http://me:geheim@x"}, "me:xxxxx@x", "", protocol.ExitInvalid},
		{"no address", []string{"HOME", home, "DOCKER_HOST", "tcp://me:geheim@x:%"}, "is not an address", "", protocol.ExitInvalid},
		{"no certificates", []string{"HOME", home, "DOCKER_HOST", "tcp://x:1", "DOCKER_TLS_VERIFY", "1", "DOCKER_CERT_PATH", broken}, "contains neither ca.pem nor", "", protocol.ExitInvalid},
	}
	for _, test := range tests {
		all, err := Endpoints(variables(test.env...))
		if test.code != 0 {
			if protocol.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("%s: status %d, %v; want %d, %q", test.name, protocol.ExitCode(err), err, test.code, test.want)
			}
			continue
		}
		var addresses []string
		for _, e := range all {
			addresses = append(addresses, e.Address)
			if test.from != "" && e.From != test.from {
				t.Errorf("%s: named by %s, want %s", test.name, e.From, test.from)
			}
		}
		if got := strings.Join(addresses, " "); err != nil || got != test.want {
			t.Errorf("%s: got %s, %v; want %s", test.name, got, err, test.want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"unix:///x", "tcp://[::1]:1", "ssh://me@h/run/x.sock", "npipe:////./x", "tcp://a:b@c", "%", "ssh://-oProxyCommand=x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		e := Endpoint{Address: address, From: hostVariable}
		if e.check() == nil {
			_, _, err := e.dialer()
			if err != nil && !strings.HasPrefix(address, "ssh:") {
				t.Errorf("%q is taken, but nothing dials it: %v", address, err)
			}
		}
	})
}
