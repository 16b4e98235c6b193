package buildkit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func none(string) string { return "" }

func TestSettingsAreChecked(t *testing.T) {
	list := func(values ...any) map[string]any { return map[string]any{"to": values} }
	for want, settings := range map[string]map[string]any{
		"addres is not a setting":                                    {"addres": "x"},
		"tls.serverNam is not a setting":                             {"tls": map[string]any{"serverNam": "x"}},
		"address must be a string, not 7":                            {"address": 7},
		"address and addresses are both set":                         {"address": "tcp://a:1", "addresses": []any{"tcp://b:1"}},
		"listed twice":                                               {"addresses": []any{"tcp://a:1", "tcp://a:1"}},
		"the scheme is not one of":                                   {"address": "http://a"},
		"want tcp://host:port":                                       {"address": "tcp://a"},
		"want unix:///path":                                          {"address": "unix://a"},
		"has no host":                                                {"address": "kube-pod://"},
		"contains a password":                                        {"address": "ssh://me:hunter2@host"},
		"cert and key must be set together":                          {"tls": map[string]any{"cert": "a"}},
		"push must be one of auto, always, never":                    {"push": "maybe"},
		"provenance must be one of min, max":                         {"provenance": "yes"},
		"sbom.generator: the image":                                  {"sbom": map[string]any{}},
		"concurrency must be a whole number":                         {"concurrency": 0},
		"cache.to[0]: \"type\" is not name=value":                    {"cache": list("type")},
		"cache.to[0]: type \"git\" is not one of":                    {"cache": list("type=git")},
		"cache.to[1]: type registry needs ref":                       {"cache": list("type=inline", "type=registry")},
		"cache.from[0]: type \"inline\" is not one":                  {"cache": map[string]any{"from": []any{"type=inline"}}},
		"secret_access_key: secrets have no place":                   {"cache": list(map[string]any{"type": "s3", "bucket": "b", "secret_access_key": "hunter2"})},
		"mode: \"full\" is not":                                      {"cache": list("type=registry,ref=a/b,mode=full")},
		"dest: \"a\" is not an absolute path":                        {"cache": list("type=local,dest=a")},
		"cache.too is not a setting":                                 {"cache": map[string]any{"too": nil}},
		"cache.to[0]: must be a string such as type=registry,ref=… ": {"cache": list(7)},
	} {
		env := capability.Environment{Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "t"}}, Provider: protocol.Provider{Settings: settings}}
		_, err := newBackend(env, none)
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(fmt.Sprint(err), want) || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%v: %v", settings, err)
		}
	}
}

func TestAddressComesFromTheTopologyThenTheEnvironment(t *testing.T) {
	env := capability.Environment{Provider: protocol.Provider{}}
	_, err := newBackend(env, none)
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(protocol.HintOf(err), Host) || !strings.Contains(protocol.HintOf(err), "settings.address") {
		t.Errorf("%v, hint %q", err, protocol.HintOf(err))
	}
	host := func(name string) string { return map[string]string{Host: "tcp://env:1"}[name] }
	b, err := newBackend(env, host)
	if err != nil || b.settings.Addresses[0] != "tcp://env:1" {
		t.Errorf("%v", err)
	}
	env.Provider.Settings = map[string]any{"address": "tcp://topology:1"}
	if b, err = newBackend(env, host); err != nil || b.settings.Addresses[0] != "tcp://topology:1" {
		t.Errorf("%v", err)
	}
}

func TestCacheNamesTheApp(t *testing.T) {
	s, err := readSettings(capability.Environment{Provider: protocol.Provider{Settings: map[string]any{"cache": map[string]any{"from": []any{`type=registry,"ref=r/{app}:x"`}}}}}, "")
	must(t, err)
	if got := forApp(s.cacheFrom, "web")[0]; got.Type != "registry" || got.Attrs["ref"] != "r/web:x" || s.cacheFrom[0].Attrs["ref"] != "r/{app}:x" {
		t.Errorf("%v", got)
	}
}

func TestWhereTheBuilderMeansAnotherMachine(t *testing.T) {
	for _, test := range []struct {
		registry, address string
		want              bool
	}{
		{"localhost:5000", "unix:///run/x", false},
		{"localhost:5000", "tcp://127.0.0.1:1", false},
		{"localhost:5000", "tcp://builder:1", true},
		{"127.0.0.1:5000", "kube-pod://x", true},
		{"localhost:5000", "ssh://localhost", true},
		{"registry.example.com", "kube-pod://x", false},
	} {
		if got := (destination{host: test.registry}).isElsewhere(test.address); got != test.want {
			t.Errorf("%v: %t", test, got)
		}
	}
}
