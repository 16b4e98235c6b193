package daemon

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/pkg/protocol"
)

// The environment variables that name a daemon, those of the docker command.
const (
	hostVariable      = "DOCKER_HOST"
	contextVariable   = "DOCKER_CONTEXT"
	configVariable    = "DOCKER_CONFIG"
	tlsVerifyVariable = "DOCKER_TLS_VERIFY"
	certPathVariable  = "DOCKER_CERT_PATH"
)

// dockerSocket is where dockerd listens, but for rootless ones.
const dockerSocket = "/var/run/docker.sock"

// Endpoint is where a daemon is.
type Endpoint struct {
	// Address is unix://PATH, tcp://HOST:PORT or ssh://[USER@]HOST[:PORT][/SOCKET].
	Address string
	// From is what named it, for messages: DOCKER_HOST, docker context "x".
	From string
	// TLS is set where the connection is encrypted; for tcp only.
	TLS *tls.Config
}

// Endpoints lists, in order, where the daemon may be: exactly one if a variable or the
// current docker context names it, else the usual sockets of docker and podman. An
// invalid one is an error of status protocol.ExitInvalid.
func Endpoints(getenv func(string) string) ([]Endpoint, error) {
	if host := getenv(hostVariable); host != "" {
		e, err := fromVariable(host, getenv)
		return []Endpoint{e}, err
	}
	name, from, err := currentContext(getenv)
	if err != nil {
		return nil, err
	}
	if name != "" && name != "default" {
		e, err := fromContext(name, from, getenv)
		return []Endpoint{e}, err
	}
	return usual(getenv), nil
}

func usual(getenv func(string) string) []Endpoint {
	paths := []string{dockerSocket}
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		paths = append(paths, filepath.Join(dir, "docker.sock"), filepath.Join(dir, "podman/podman.sock"))
	}
	paths = append(paths, "/run/podman/podman.sock")
	var all []Endpoint
	for _, path := range paths {
		all = append(all, Endpoint{Address: "unix://" + path, From: "the usual sockets"})
	}
	return all
}

func fromVariable(host string, getenv func(string) string) (Endpoint, error) {
	e := Endpoint{Address: host, From: hostVariable}
	if getenv(tlsVerifyVariable) != "" && strings.HasPrefix(host, "tcp://") {
		config, err := readTLS(cmp.Or(getenv(certPathVariable), configDir(getenv)))
		if err != nil {
			return e, protocol.Invalid("%s: %w", tlsVerifyVariable, err).
				WithHint("%s names the folder with ca.pem, cert.pem and key.pem", certPathVariable)
		}
		e.TLS = config
	}
	return e, e.check()
}

// check refuses an address that cannot be dialled.
func (e Endpoint) check() error {
	u, err := url.Parse(e.Address)
	if err != nil {
		// The error of url.Parse contains the whole address, with a password.
		return protocol.Invalid("%s is not an address such as unix:///var/run/docker.sock", e.From)
	}
	switch {
	case u.Scheme == "unix" && filepath.IsAbs(u.Path) && u.Host == "",
		u.Scheme == "tcp" && u.Host != "" && u.User == nil,
		u.Scheme == "ssh" && u.Host != "":
		return nil
	case u.Scheme == "npipe":
		return protocol.Unsupported("%s: %s is a named pipe of Windows, which harmony does not speak", e.From, u.Redacted()).
			WithHint("use a daemon on a unix socket, tcp:// or ssh://")
	}
	return protocol.Invalid("%s: %q must be unix:///PATH, tcp://HOST:PORT or ssh://HOST", e.From, u.Redacted())
}

// readTLS reads those of ca.pem, and cert.pem with key.pem, that a folder has.
func readTLS(dir string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	switch {
	case errors.Is(err, os.ErrNotExist): // one that this machine trusts
	case err != nil:
		return nil, err
	default:
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New(filepath.Join(dir, "ca.pem") + " contains no certificate")
		}
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		if config.RootCAs == nil {
			return nil, errors.New(dir + " contains neither ca.pem nor cert.pem with key.pem")
		}
	case err != nil:
		return nil, err
	default:
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func configDir(getenv func(string) string) string {
	return cmp.Or(getenv(configVariable), filepath.Join(getenv("HOME"), ".docker"))
}

// currentContext is the name of the current docker context, which may be empty, and
// where it is set.
func currentContext(getenv func(string) string) (name, from string, err error) {
	if name := getenv(contextVariable); name != "" {
		return name, contextVariable, nil
	}
	file := filepath.Join(configDir(getenv), "config.json")
	var config struct {
		CurrentContext string `json:"currentContext"`
	}
	err = readJSON(file, &config)
	if errors.Is(err, os.ErrNotExist) {
		return "", "", nil
	}
	return config.CurrentContext, file, err
}

// fromContext reads a context as docker context create keeps it.
func fromContext(name, from string, getenv func(string) string) (Endpoint, error) {
	id, contexts := digest.FromString(name).Encoded(), filepath.Join(configDir(getenv), "contexts")
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	err := readJSON(filepath.Join(contexts, "meta", id, "meta.json"), &meta)
	if errors.Is(err, os.ErrNotExist) {
		return Endpoint{}, protocol.Invalid("the docker context %q, which %s names, does not exist", name, from).
			WithHint("docker context ls shows those that do")
	}
	if err != nil {
		return Endpoint{}, err
	}
	e := Endpoint{Address: meta.Endpoints["docker"].Host, From: "docker context " + name}
	files := filepath.Join(contexts, "tls", id, "docker")
	if _, err := os.Stat(files); err == nil && strings.HasPrefix(e.Address, "tcp://") {
		if e.TLS, err = readTLS(files); err != nil {
			return Endpoint{}, protocol.Invalid("docker context %q: %w", name, err)
		}
		// As its owner chose with docker context create.
		e.TLS.InsecureSkipVerify = meta.Endpoints["docker"].SkipTLSVerify //nolint:gosec // see above
	}
	return e, e.check()
}

func readJSON(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return protocol.Invalid("%s: %w", file, err)
	}
	return nil
}
