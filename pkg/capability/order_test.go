package capability_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// graph reads "a:b,c d" as: a depends on b and c; d on nothing.
func graph(text string) []protocol.AppSpec {
	var apps []protocol.AppSpec
	for _, word := range strings.Fields(text) {
		name, needs, _ := strings.Cut(word, ":")
		app := protocol.AppSpec{Metadata: protocol.Metadata{Name: name}}
		if needs != "" {
			app.DependsOn = strings.Split(needs, ",")
		}
		apps = append(apps, app)
	}
	return apps
}

func TestOrder(t *testing.T) {
	for _, test := range []struct{ apps, want string }{
		{"", ""},
		{"c b a", "c b a"},
		{"agent:operator operator:callout callout", "callout operator agent"},
		{"a:b,c b:d c:d d", "d b c a"},
		{"a:b,c c b", "b c a"},
		{"z a:elsewhere y", "z a y"},
	} {
		sorted, err := capability.Order(graph(test.apps))
		if err != nil {
			t.Errorf("Order(%s): %v", test.apps, err)
		}
		var names []string
		for _, app := range sorted {
			names = append(names, app.Name)
		}
		if got := strings.Join(names, " "); got != test.want {
			t.Errorf("Order(%s) = %s, want %s", test.apps, got, test.want)
		}
	}
}

func TestOrderCycle(t *testing.T) {
	for _, test := range []struct {
		apps string
		want []string
	}{
		{"a:b b:a", []string{"a", "b", "a"}},
		{"a:a", []string{"a", "a"}},
		{"x:a a:b b:c c:a", []string{"a", "b", "c", "a"}},
	} {
		_, err := capability.Order(graph(test.apps))
		var cycle *capability.CycleError
		if !errors.As(err, &cycle) || !slices.Equal(cycle.Apps, test.want) {
			t.Errorf("Order(%s): %v, want the cycle %v", test.apps, err, test.want)
			continue
		}
		if code := protocol.ExitCode(err); code != protocol.ExitInvalid {
			t.Errorf("Order(%s): exit code %d", test.apps, code)
		}
		if text := strings.Join(test.want, " -> "); !strings.Contains(err.Error(), text) {
			t.Errorf("Order(%s): %q does not print %q", test.apps, err, text)
		}
	}
}
