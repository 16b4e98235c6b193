package nearest_test

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/cli/nearest"
)

func TestName(t *testing.T) {
	apps := []string{"fleet-agent", "fleet-operator", "fleet-callout"}
	for _, test := range []struct {
		word  string
		known []string
		want  string
	}{
		{"fleet-operater", apps, "fleet-operator"},
		{"fleet-opertaor", apps, "fleet-operator"},
		{"Fleet-Agent", apps, "fleet-agent"},
		{"fleet-call", apps, "fleet-callout"},
		{"buidable", []string{"repository", "dockerfile", "buildable"}, "buildable"},
		{"build", []string{"repository", "buildable"}, "buildable"},
		{"egde", []string{"ci", "edge"}, "edge"},
		{"port", []string{"path"}, ""},
		{"zebra", apps, ""},
		{"", apps, ""},
		{"x", nil, ""},
		{strings.Repeat("a", 200), []string{strings.Repeat("a", 201)}, ""},
	} {
		if got := nearest.Name(test.word, test.known); got != test.want {
			t.Errorf("Name(%q, %q) = %q, want %q", test.word, test.known, got, test.want)
		}
	}
}
