package reason_test

import (
	"testing"

	"github.com/nationtech/harmony/internal/cluster/reason"
)

func TestFinal(t *testing.T) {
	for message, final := range map[string]bool{
		`failed to resolve reference "r/x:1": r/x:1: not found`: true,
		"manifest unknown": true,
		"pull access denied, repository does not exist or may require authorization":          true,
		"unexpected status from HEAD request to https://r/v2/x/manifests/1: 401 Unauthorized": true,
		"no match for platform in manifest":                                                   true,
		"container has runAsNonRoot and image will run as root":                               true,
		`pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged`:         true,
		`admission webhook "policy" denied the request: no latest`:                            true,
		`Deployment.apps "x" is invalid: spec.selector: Invalid value: field is immutable`:    true,
		`Deployment "x" exceeded its progress deadline`:                                       true,
		"dial tcp 10.0.0.1:443: connect: connection refused":                                  false,
		"dial tcp: lookup r.example.com: no such host":                                        false,
		"mirror: not found; r.example.com: 503 Service Unavailable":                           false,
		"(Mirrors also failed: [m/x:1: dial tcp: i/o timeout]): r/x:1: manifest unknown":      false,
		"429 Too Many Requests - toomanyrequests: unauthorized pull rate limit":               false,
		"failed to fetch anonymous token: unexpected status: 502 Bad Gateway, denied":         false,
		`secret "db" not found`:                    false,
		"couldn't find key url in Secret fleet/db": false,
		`pods "x" is forbidden: error looking up service account fleet/x: serviceaccount "x" not found`: false,
		`pods "x" is forbidden: exceeded quota: q, requested: pods=1`:                                   false,
		`Internal error occurred: failed calling webhook "policy": service "policy" not found`:          false,
		"Back-off pulling image": false,
	} {
		if reason.Final(message) != final {
			t.Errorf("%q: final %t, want %t", message, !final, final)
		}
	}
}
