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

func TestOnSmokeFailure(t *testing.T) {
	for word, want := range map[string]string{
		"": "", protocol.SmokeRollback: "", protocol.SmokeHalt: "",
		"retry": `spec.targets.staging.onSmokeFailure: "retry" is not one of rollback, halt`,
	} {
		err := protocol.Topology{
			Metadata: protocol.Metadata{Name: "ci"},
			Targets:  map[string]protocol.Target{"staging": {InCluster: &protocol.InCluster{Namespace: "x"}, OnSmokeFailure: word}},
		}.Validate()
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%q: %v, want %q", word, err, want)
		}
	}
}
