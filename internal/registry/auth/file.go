package auth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/nationtech/harmony/internal/cli/process"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 4 << 20

// file is docker's config.json or podman's auth.json: what it says of
// credentials.
type file struct {
	path        string
	Auths       map[string]entry  `json:"auths"`
	CredHelpers map[string]string `json:"credHelpers"`
	CredsStore  string            `json:"credsStore"`
}

// entry is one of auths; an empty one says that a helper has the credentials.
type entry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

func files(getenv func(string) string) []string {
	home := getenv("HOME")
	under := func(folder string, parts ...string) string {
		if folder == "" {
			return ""
		}
		return filepath.Join(append([]string{folder}, parts...)...)
	}
	docker := cmp.Or(getenv("DOCKER_CONFIG"), under(home, ".docker"))
	config := cmp.Or(getenv("XDG_CONFIG_HOME"), under(home, ".config"))
	return []string{
		getenv("REGISTRY_AUTH_FILE"),
		under(docker, "config.json"),
		under(getenv("XDG_RUNTIME_DIR"), "containers", "auth.json"),
		under(config, "containers", "auth.json"),
	}
}

// readFile reads one of files. A missing file is empty.
func readFile(path string) (file, error) {
	f := file{path: path}
	if path == "" {
		return f, nil
	}
	opened, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) && !isReadable(path) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("registry credentials: %w", err)
	}
	defer opened.Close()
	data, err := io.ReadAll(io.LimitReader(opened, maxFile+1))
	switch {
	case err != nil:
		return f, fmt.Errorf("registry credentials: %w", err)
	case len(data) > maxFile:
		return f, fmt.Errorf("registry credentials: %s has over %d bytes", path, maxFile)
	case len(strings.TrimSpace(string(data))) == 0:
		return f, nil
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("registry credentials: %s is not a JSON file such as docker login writes: %w", path, withoutText(err))
	}
	return f, nil
}

// isReadable is false for a file in a folder that is closed to this user, such
// as root's home: that is as if it did not exist.
func isReadable(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrPermission)
}

// withoutText keeps the place of a JSON error only: its text quotes the file.
func withoutText(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("syntax error at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("wrong type at byte %d", kind.Offset)
	}
	return errors.New("unreadable")
}

// find looks up the target in the file.
func (f file) find(ctx context.Context, target authn.Resource) (Credentials, bool, error) {
	host := target.RegistryStr()
	keys := keysOf(target)
	for _, key := range keys[:len(keys)-1] {
		if c, ok, err := f.entry(key); ok || err != nil {
			return c, ok, err
		}
	}
	if helper := f.helper(host); helper != "" {
		return f.ask(ctx, helper, host, true)
	}
	if f.CredsStore != "" {
		_, promised := f.hostEntry(host)
		if c, ok, err := f.ask(ctx, f.CredsStore, host, promised); ok || err != nil {
			return c, ok, err
		}
	}
	key, ok := f.hostEntry(host)
	if !ok {
		return Credentials{}, false, nil
	}
	return f.entry(key)
}

// keysOf are the keys of auths that apply to the target, the longest first, as
// containers-auth.json(5) has it; the last one is the host.
func keysOf(target authn.Resource) []string {
	host := target.RegistryStr()
	path := strings.TrimPrefix(strings.TrimPrefix(target.String(), host), "/")
	var keys []string
	for path != "" {
		keys = append(keys, host+"/"+path)
		path = path[:max(0, strings.LastIndexByte(path, '/'))]
	}
	return append(keys, host)
}

func (f file) helper(host string) string {
	for key, helper := range f.CredHelpers {
		if hostOf(key) == hostOf(host) {
			return helper
		}
	}
	return ""
}

// hostEntry is the key of auths for a whole registry, which docker has written
// as a URL in some versions. A plain name wins.
func (f file) hostEntry(host string) (string, bool) {
	if _, ok := f.Auths[host]; ok {
		return host, true
	}
	for key := range f.Auths {
		bare := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
		_, path, _ := strings.Cut(bare, "/")
		path = strings.Trim(path, "/")
		if hostOf(bare) == hostOf(host) && (path == "" || path == "v1" || path == "v2") {
			return key, true
		}
	}
	return "", false
}

// hostOf is the host of a key, one name for each of docker.io's.
func hostOf(key string) string {
	host := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, _, _ = strings.Cut(host, "/")
	if host = strings.ToLower(host); host == "docker.io" || host == "registry-1.docker.io" {
		return "index.docker.io"
	}
	return host
}

func (f file) entry(key string) (Credentials, bool, error) {
	e, ok := f.Auths[key]
	if !ok {
		return Credentials{}, false, nil
	}
	c := Credentials{
		Source: fmt.Sprintf("file %s, entry %s", f.path, key),
		Auth:   authn.AuthConfig{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken},
	}
	if e.Auth != "" {
		username, password, ok := decodeAuth(e.Auth)
		if !ok {
			return Credentials{}, false, fmt.Errorf("registry credentials: %s: auth of %s is not base64 of username:password", f.path, key)
		}
		c.Auth.Username, c.Auth.Password = username, password
	}
	if c.Auth.IdentityToken != "" { // the password next to it is empty or a placeholder
		c.Auth.Password = ""
	}
	return c, c.Auth != (authn.AuthConfig{Username: c.Auth.Username}), nil
}

func decodeAuth(text string) (username, password string, ok bool) {
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		if decoded, err = base64.RawStdEncoding.DecodeString(text); err != nil {
			return "", "", false
		}
	}
	username, password, ok = strings.Cut(string(decoded), ":")
	return username, strings.TrimRight(password, "\x00"), ok && username != ""
}

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
