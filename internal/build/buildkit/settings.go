package buildkit

import (
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"

	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// options are the adapter's own settings in the topology.
type options struct {
	Addresses   []string
	Push        string
	Provenance  string
	Concurrency int

	address            string
	tls                tlsFiles
	sbom               string // the image of the generator
	cacheFrom, cacheTo []client.CacheOptionsEntry
}

// tlsFiles are PEM files.
type tlsFiles struct{ CA, Cert, Key, ServerName string }

// Values of the setting push.
const (
	pushAuto   = "auto"
	pushAlways = "always"
	pushNever  = "never"
)

// readSettings reads and checks the settings. Without an address in them the
// fallback is taken, which may be empty.
func readSettings(env capability.Environment, fallback string) (options, error) {
	s := options{Push: pushAuto, Concurrency: 2}
	err := settings.Of(env, "containerBuilder", settings.Table{
		"address":   settings.Text(&s.address),
		"addresses": settings.List(&s.Addresses, "addresses such as tcp://builder:1234", func(string) bool { return true }),
		"tls": settings.Mapping(settings.Table{
			"ca": settings.Text(&s.tls.CA), "cert": settings.Text(&s.tls.Cert), "key": settings.Text(&s.tls.Key), "serverName": settings.Text(&s.tls.ServerName),
		}),
		"cache":       settings.Mapping(settings.Table{"from": cacheEntries(&s.cacheFrom, true), "to": cacheEntries(&s.cacheTo, false)}),
		"push":        settings.OneOf(&s.Push, pushAuto, pushAlways, pushNever),
		"sbom":        s.readSBOM,
		"provenance":  settings.OneOf(&s.Provenance, "min", "max"),
		"concurrency": settings.Whole(&s.Concurrency, 1),
	})
	if err == nil {
		err = s.checkAddresses(fallback)
	}
	return s, err
}

func (s *options) readSBOM(path string, value any) error {
	err := settings.Mapping(settings.Table{"generator": settings.Text(&s.sbom)})(path, value)
	if err == nil && s.sbom == "" {
		err = protocol.Invalid("%s.generator: the image of the program that lists what is in an image is not set", path)
	}
	return err
}

func (s *options) checkAddresses(fallback string) error {
	switch {
	case s.address != "" && len(s.Addresses) > 0:
		return protocol.Invalid("address and addresses are both set; remove one")
	case s.address != "":
		s.Addresses = []string{s.address}
	case len(s.Addresses) == 0 && fallback != "":
		s.Addresses = []string{fallback}
	}
	if (s.tls.Cert == "") != (s.tls.Key == "") {
		return protocol.Invalid("tls: cert and key must be set together")
	}
	for i, address := range s.Addresses {
		if err := checkAddress(address); err != nil {
			return err
		}
		if slices.Contains(s.Addresses[:i], address) {
			return protocol.Invalid("addresses: %s is listed twice", address)
		}
	}
	return nil
}

// schemes maps those of addresses to the program that makes the connection.
func schemes() map[string]string {
	return map[string]string{"unix": "", "tcp": "", "ssh": "ssh", "docker-container": "docker", "kube-pod": "kubectl"}
}

func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return protocol.Invalid("address %q: not a URL", address)
	}
	known := schemes()
	if _, ok := known[u.Scheme]; !ok {
		return protocol.Invalid("address %q: the scheme is not one of %s", u.Redacted(), strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	if _, has := u.User.Password(); has {
		return protocol.Invalid("address %q contains a password", u.Redacted()).WithHint("use a key, for example by an ssh agent")
	}
	switch {
	case u.Scheme == "unix" && !filepath.IsAbs(u.Path):
		return protocol.Invalid("address %q: want unix:///path/of/socket", address)
	case u.Scheme == "tcp" && u.Port() == "":
		return protocol.Invalid("address %q: want tcp://host:port", address)
	case u.Scheme != "unix" && (u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-")):
		return protocol.Invalid("address %q has no host", address)
	}
	return nil
}
