package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// configDir is the folder of the docker command's settings.
func configDir(getenv func(string) string) string {
	if dir := getenv(configVariable); dir != "" {
		return dir
	}
	return filepath.Join(getenv("HOME"), ".docker")
}

// currentContext is the name of the docker context in force, "" when there is
// none, and what says so.
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
	sum := sha256.Sum256([]byte(name))
	id, contexts := hex.EncodeToString(sum[:]), filepath.Join(configDir(getenv), "contexts")
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
