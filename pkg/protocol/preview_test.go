package protocol_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

func namespaceOf(t *testing.T, pattern, app, branch string) string {
	t.Helper()
	c := protocol.InCluster{Namespace: pattern, Preview: &protocol.Preview{Branch: branch}}
	name, err := c.NamespaceOf(app)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPreviewNamespace(t *testing.T) {
	long := strings.Repeat("x", 50)
	for _, c := range []struct{ pattern, app, branch, want string }{
		{"{app}-{branch}", "web", "main", "web-main"},
		{"pr-{branch}", "web", "cart-2", "pr-cart-2"},
		{"{app}-{branch}", "web", "feature/Cart", "web-feature-cart-ba2c426af9"},
		{"{app}-{branch}", "web", "feature-cart", "web-feature-cart"},
		{"{app}-{branch}", "web", "--", "web-d8156bae0c"},
		{"{app}-{branch}", "web", "ünïcode", "web-n-code-b8be8967e4"},
		{"{app}-{branch}", "web", long, "web-" + long[:29] + "-77cf12060d"},
		// It looks like one with a hash.
		{"{app}-{branch}", "web", "feature-cart-ba2c426af9", "web-feature-cart-ba2c426af9-a53add139a"},
		{"{app}-{branch}", long, strings.Repeat("y", 40), long + "-y-3daf7a7d23"},
		{"fleet", "web", "main", "fleet"},
	} {
		if got := namespaceOf(t, c.pattern, c.app, c.branch); got != c.want {
			t.Errorf("%s of %s at %q: %s, want %s", c.pattern, c.app, c.branch, got, c.want)
		}
	}
}

func TestPreviewWithoutBranch(t *testing.T) {
	for _, of := range []*protocol.Preview{nil, {Project: "shop/web"}} {
		c := protocol.InCluster{Namespace: "{app}-{branch}", Preview: of}
		_, err := c.NamespaceOf("web")
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(protocol.HintOf(err), "HARMONY_BRANCH") {
			t.Errorf("%v, hint %q", err, protocol.HintOf(err))
		}
	}
}

func TestTopologyAt(t *testing.T) {
	topology := protocol.Topology{Targets: map[string]protocol.Target{
		"preview": {InCluster: &protocol.InCluster{Context: "office", Namespace: "{app}-{branch}", Preview: &protocol.Preview{Branch: "main"}}},
		"staging": {InCluster: &protocol.InCluster{Namespace: "fleet"}},
	}}
	at, err := topology.At("web", "preview")
	if err != nil || at.Targets["preview"].InCluster.Namespace != "web-main" || at.Targets["preview"].InCluster.Context != "office" || at.Targets["staging"].InCluster == nil {
		t.Errorf("%+v, %v", at.Targets, err)
	}
	if was := topology.Targets["preview"].InCluster.Namespace; was != "{app}-{branch}" {
		t.Errorf("the topology itself has %s now", was)
	}
	if at, err := topology.At("web", "staging"); err != nil || at.Targets["staging"].InCluster.Namespace != "fleet" {
		t.Errorf("staging: %+v, %v", at.Targets, err)
	}
}

func TestPreviewValidate(t *testing.T) {
	for _, c := range []struct {
		target protocol.Target
		says   string
	}{
		{protocol.Target{InCluster: &protocol.InCluster{Namespace: "{app}-{branch}", TTL: protocol.Duration(72 * time.Hour)}}, ""},
		{protocol.Target{InCluster: &protocol.InCluster{Namespace: "pr-{branch}", TTL: protocol.Duration(10 * time.Minute)}}, ""},
		{protocol.Target{InCluster: &protocol.InCluster{Namespace: "{app}-{branch}"}}, "ttl: a preview, whose namespace has {branch}, needs a ttl of at least 10m0s"},
		{protocol.Target{InCluster: &protocol.InCluster{Namespace: "{app}-{branch}", TTL: protocol.Duration(time.Minute)}}, "needs a ttl of at least"},
		{protocol.Target{InCluster: &protocol.InCluster{Namespace: "fleet", TTL: protocol.Duration(time.Hour)}}, "ttl: is for previews"},
		{protocol.Target{InCluster: &protocol.InCluster{Namespace: "team-{app}"}}, "has {app} and no {branch}"},
		{protocol.Target{InCluster: &protocol.InCluster{Namespace: "{App}-{branch}", TTL: protocol.Duration(time.Hour)}}, "is not a namespace once {app} and {branch} are filled in"},
		{protocol.Target{MultiCluster: &protocol.MultiCluster{Namespace: "{branch}", Contexts: []string{"eu"}}}, "a preview is in one cluster"},
		{protocol.Target{EdgeDevice: &protocol.EdgeDevice{Namespace: "{branch}", Group: "shops"}}, "devices run one release"},
	} {
		err := protocol.Topology{Metadata: protocol.Metadata{Name: "office"}, Targets: map[string]protocol.Target{"preview": c.target}}.Validate()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.target, err, c.says)
		}
	}
}

// Any two branches have namespaces that are valid, and not the same.
func FuzzPreviewNamespace(f *testing.F) {
	f.Add("web", "main", "Main")
	f.Add("web", "feature/cart", "feature-cart")
	f.Add("a", "x-0123456789", "x")
	f.Add(strings.Repeat("a", 53), strings.Repeat("b", 40), strings.Repeat("b", 41))
	f.Add("web", "///", "\x00\xff")
	valid := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	f.Fuzz(func(t *testing.T, app, one, other string) {
		if !protocol.ValidName(app) || one == "" || other == "" || one == other {
			t.Skip()
		}
		for _, pattern := range []string{"{app}-{branch}", "{branch}", "preview-of-a-very-long-name-{branch}-{app}"} {
			a, b := namespaceOf(t, pattern, app, one), namespaceOf(t, pattern, app, other)
			if !valid.MatchString(a) || !valid.MatchString(b) || a == b {
				t.Errorf("%s: %q is %s, %q is %s", pattern, one, a, other, b)
			}
		}
	})
}
