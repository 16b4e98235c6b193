package buildkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// settings are the adapter's own in the topology.
type settings struct {
	Address     string         `json:"address"`
	Addresses   []string       `json:"addresses"`
	TLS         map[string]any `json:"tls"`
	Cache       map[string]any `json:"cache"`
	Push        string         `json:"push"`
	SBOM        map[string]any `json:"sbom"`
	Provenance  string         `json:"provenance"`
	Concurrency int            `json:"concurrency"`

	tls                tlsFiles
	sbom               sbom
	cacheFrom, cacheTo []client.CacheOptionsEntry
}

// tlsFiles are PEM files.
type tlsFiles struct {
	CA         string `json:"ca"`
	Cert       string `json:"cert"`
	Key        string `json:"key"`
	ServerName string `json:"serverName"`
}

type sbom struct {
	Generator string `json:"generator"`
}

// Values of the setting push.
const (
	pushAuto   = "auto"
	pushAlways = "always"
	pushNever  = "never"
)

// readSettings decodes and checks the settings. Without an address in them the
// fallback is taken, which may be empty.
func readSettings(from map[string]any, fallback string) (settings, error) {
	s := settings{Push: pushAuto, Concurrency: 2}
	if err := decode("", from, &s); err != nil {
		return s, err
	}
	if err := errors.Join(decode("tls.", s.TLS, &s.tls), decode("sbom.", s.SBOM, &s.sbom)); err != nil {
		return s, err
	}
	if s.SBOM != nil && s.sbom.Generator == "" {
		return s, protocol.Invalid("sbom.generator: the image of the program that lists what is in an image is not set")
	}
	if !slices.Contains([]string{pushAuto, pushAlways, pushNever}, s.Push) {
		return s, protocol.Invalid("push: %q is not auto, always or never", s.Push)
	}
	if !slices.Contains([]string{"", "min", "max"}, s.Provenance) {
		return s, protocol.Invalid("provenance: %q is not min or max", s.Provenance)
	}
	if s.Concurrency < 1 {
		return s, protocol.Invalid("concurrency: %d is not a number of builds", s.Concurrency)
	}
	if err := s.readCache(); err != nil {
		return s, err
	}
	return s, s.readAddresses(fallback)
}

func (s *settings) readAddresses(fallback string) error {
	switch {
	case s.Address != "" && len(s.Addresses) > 0:
		return protocol.Invalid("address and addresses are both set; remove one")
	case s.Address != "":
		s.Addresses = []string{s.Address}
	case len(s.Addresses) == 0 && fallback != "":
		s.Addresses = []string{fallback}
	}
	if (s.tls.Cert == "") != (s.tls.Key == "") {
		return protocol.Invalid("tls: cert and key go together")
	}
	for i, address := range s.Addresses {
		if err := checkAddress(address); err != nil {
			return err
		}
		if slices.Contains(s.Addresses[:i], address) {
			return protocol.Invalid("addresses: %s is there twice", address)
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
		return protocol.Invalid("address %q: the scheme is none of %s", u.Redacted(), strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	if _, has := u.User.Password(); has {
		return protocol.Invalid("address %q holds a password", u.Redacted()).WithHint("use a key, for example by an ssh agent")
	}
	switch {
	case u.Scheme == "unix" && !filepath.IsAbs(u.Path):
		return protocol.Invalid("address %q: want unix:///path/of/socket", address)
	case u.Scheme == "tcp" && u.Port() == "":
		return protocol.Invalid("address %q: want tcp://host:port", address)
	case u.Scheme != "unix" && (u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-")):
		return protocol.Invalid("address %q names no host", address)
	}
	return nil
}

// decode decodes settings into a struct. Names are prefixed in errors.
func decode(prefix string, from map[string]any, into any) error {
	known := names(reflect.TypeOf(into).Elem())
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if !slices.Contains(known, name) {
			err := protocol.Invalid("%s%s: the adapter buildkit has no such setting", prefix, name)
			if near := nearest.Name(name, known); near != "" {
				return err.WithHint("did you mean %s%s?", prefix, near)
			}
			return err.WithHint("it has %s", strings.Join(known, ", "))
		}
		// One by one, so that an error names the setting.
		text, err := json.Marshal(map[string]any{name: from[name]})
		if err == nil {
			err = json.NewDecoder(bytes.NewReader(text)).Decode(into)
		}
		if err != nil {
			return protocol.Invalid("%s%s: %s", prefix, name, wrongType(err))
		}
	}
	return nil
}

func wrongType(err error) string {
	var e *json.UnmarshalTypeError
	if errors.As(err, &e) {
		return fmt.Sprintf("want %s, have a %s", e.Type, e.Value)
	}
	return err.Error()
}

// names are those of a struct's fields in JSON, in their order.
func names(t reflect.Type) []string {
	var list []string
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" {
			list = append(list, name)
		}
	}
	return list
}
