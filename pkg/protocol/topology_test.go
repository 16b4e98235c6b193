package protocol_test

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestVouched(t *testing.T) {
	for text, want := range map[string]struct {
		repository string
		code       int
	}{
		"": {"", 0}, "own": {"", 0}, "ci/inputs": {"ci/inputs", 0}, "r.example.com/ci": {"ci", 0}, "r.example.com/ci/x": {"ci/x", 0},
		"key": {"", 3}, "key:abc": {"", 3}, "onw": {"", 2}, "other.example.com/ci": {"", 2}, "localhost/ci": {"", 2}, "https://r.example.com/ci": {"", 2},
		"ci/UPPER": {"", 2}, "ci/../x": {"", 2}, "r.example.com/": {"", 2}, "ci/x:1": {"", 2}, "true": {"", 2},
	} {
		got, err := protocol.Provider{URL: "r.example.com/fleet", TrustInputs: text}.Vouched()
		if got != want.repository || protocol.ExitCode(err) != want.code {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
	err := protocol.Topology{HelmRegistry: &protocol.Provider{Adapter: "oci", URL: "r.example.com/x", TrustInputs: "own"}}.Validate()
	if err == nil || !strings.Contains(err.Error(), "spec.helmRegistry.trustInputs: is a field of ociRegistry only") {
		t.Errorf("of another capability: %v", err)
	}
}
