package version_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/project/version"
	"github.com/nationtech/harmony/pkg/protocol"
)

var apps = []string{"fleet-v2", "fleet", "fleet-operator", "shop-v1"}

func TestFromTag(t *testing.T) {
	for _, test := range []struct{ tag, app, version string }{
		{"fleet-v1.4.0", "fleet", "1.4.0"},
		{"refs/tags/fleet-v1.4.0", "fleet", "1.4.0"},
		{"fleet-operator-v1.4.0", "fleet-operator", "1.4.0"},
		{"fleet-operator-v1.4.0-rc.1+build.5", "fleet-operator", "1.4.0-rc.1+build.5"},
		{"fleet-v2-v1.0.0", "fleet-v2", "1.0.0"},
		{"fleet-v2.0.0", "fleet", "2.0.0"},
		{"fleet-v2.0.0-v3.0.0", "fleet", "2.0.0-v3.0.0"},
		{"shop-v1-v0.0.0-0.a-b", "shop-v1", "0.0.0-0.a-b"},
	} {
		app, v, err := version.FromTag(test.tag, apps)
		if err != nil || app != test.app || v.String() != test.version {
			t.Errorf("FromTag(%q) = %q, %q, %v; want %q, %q", test.tag, app, v.String(), err, test.app, test.version)
		}
	}
}

func TestFromTagRefuses(t *testing.T) {
	for _, test := range []struct {
		tag  string
		says string
	}{
		{"", `tag "" names no app, want <app>-v<version> such as fleet-v2-v1.4.0`},
		{"v1.4.0", "want <app>-v<version>"},
		{"fleet", "did you mean fleet-v1.4.0?"},
		{"fleet-operater-v1.4.1-rc.2", "did you mean fleet-operator-v1.4.1-rc.2?"},
		{"fleet-operator-1.4.1", "did you mean fleet-operator-v1.4.1?"},
		{"fleet-operater-vnext", "did you mean fleet-operator-v1.4.0?"},
		{"fleet-operator-v1.4", `"1.4" is not a semantic version, want fleet-operator-v<version> such as fleet-operator-v1.4.0`},
		{"fleet-operator-vv1.4.0", `"v1.4.0" is not a semantic version`},
		{"fleet-operator-v01.4.0", "is not a semantic version"},
		{"fleet-operator-v1.4.0-01", "is not a semantic version"},
		{"fleet-operator-v1.4.0-", "is not a semantic version"},
		{"fleet-operator-v1.4.0 ", "is not a semantic version"},
		{"fleet-operator-v99999999999999999999.0.0", "is not a semantic version"},
		{"fleet-v2-v1", `"1" is not a semantic version, want fleet-v2-v<version>`},
	} {
		app, _, err := version.FromTag(test.tag, apps)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("FromTag(%q) = %q, %v; want an error that says %q", test.tag, app, err, test.says)
		}
		if code := protocol.ExitCode(err); code != protocol.ExitInvalid {
			t.Errorf("FromTag(%q): exit code %d", test.tag, code)
		}
	}
	if _, _, err := version.FromTag("fleet-v1.0.0", nil); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("FromTag without apps: %v", err)
	}
}

func TestTagFromEnvironment(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"none", nil, ""},
		{"github", map[string]string{"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "a-v1.0.0"}, "a-v1.0.0"},
		{"github branch", map[string]string{"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "a-v1.0.0", "GITHUB_REF": "refs/heads/a-v1.0.0"}, ""},
		{"old runner", map[string]string{"GITHUB_REF": "refs/tags/a-v1.0.0", "GITHUB_REF_NAME": "a-v1.0.0"}, "a-v1.0.0"},
		{"gitlab", map[string]string{"CI_COMMIT_TAG": "a-v1.0.0"}, "a-v1.0.0"},
	} {
		tag, ok := version.TagFromEnvironment(func(name string) string { return test.env[name] })
		if tag != test.want || ok != (test.want != "") {
			t.Errorf("%s: %q, %t; want %q", test.name, tag, ok, test.want)
		}
	}
}

func FuzzFromTag(f *testing.F) {
	for _, tag := range []string{"fleet-v1.4.0", "refs/tags/fleet-v2-v1.0.0-rc.1+5", "v1", "fleet-v", "-v1.0.0"} {
		f.Add(tag)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		app, v, err := version.FromTag(tag, apps)
		if err != nil {
			if protocol.ExitCode(err) != protocol.ExitInvalid {
				t.Errorf("%q: exit code %d", tag, protocol.ExitCode(err))
			}
			return
		}
		if !slices.Contains(apps, app) {
			t.Errorf("%q: app %q is not one of them", tag, app)
		}
		if again := app + "-v" + v.String(); again != strings.TrimPrefix(tag, "refs/tags/") {
			t.Errorf("%q was read as %q", tag, again)
		}
	})
}
