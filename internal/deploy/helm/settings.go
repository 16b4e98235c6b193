package helm

import (
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// settings are the adapter's own in the topology.
type settings struct {
	// timeout bounds a deploy, rollout and all; a rollback has as much again.
	timeout time.Duration
	// maxHistory is how many revisions Helm keeps.
	maxHistory int
	// rollback goes back to the last good revision when a deploy fails.
	rollback bool
	// reportDrift leaves alone what somebody changed on the cluster, and tells it.
	reportDrift bool
	// crds is what is done with the CustomResourceDefinitions of a chart.
	crds crdPolicy
	// wait says what is waited for of objects that run no pods.
	wait rollout.Policies
	// tests runs the chart's tests, as helm test does.
	tests bool
	// namespaceLabels are those that the target's namespace must have.
	namespaceLabels map[string]string
	// pullSecret is the name of a Secret with the credentials for the image's
	// registry, to be made in the target's namespace; none when empty.
	pullSecret string
}

// setters read one setting each, by name.
func setters() map[string]func(*settings, any) error {
	return map[string]func(*settings, any) error{
		"timeout": func(s *settings, value any) error {
			text, _ := value.(string)
			timeout, err := time.ParseDuration(text)
			if err != nil || timeout <= 0 {
				return protocol.Invalid("%v is not a duration such as 5m", value)
			}
			s.timeout = timeout
			return nil
		},
		"maxHistory": func(s *settings, value any) error {
			n, ok := values.Whole(value).(int64)
			if !ok || n < 1 {
				return protocol.Invalid("%v is not a number of revisions", value)
			}
			s.maxHistory = int(n)
			return nil
		},
		"rollback": func(s *settings, value any) error { return setBool(&s.rollback, value) },
		"tests":    func(s *settings, value any) error { return setBool(&s.tests, value) },
		"drift": func(s *settings, value any) error {
			if value != "repair" && value != "report" {
				return protocol.Invalid("%v is not one of repair, report", value)
			}
			s.reportDrift = value == "report"
			return nil
		},
		"crds": func(s *settings, value any) error {
			text, _ := value.(string)
			s.crds = crdPolicy(text)
			if s.crds != crdsCreate && s.crds != crdsUpgrade && s.crds != crdsSkip {
				return protocol.Invalid("%v is not one of create, upgrade, skip", value)
			}
			return nil
		},
		"wait": func(s *settings, value any) (err error) {
			s.wait, err = rollout.ReadPolicies(value)
			return err
		},
		"namespaceLabels": setLabels,
		"pullSecret": func(s *settings, value any) error {
			text, _ := value.(string)
			if len(validation.IsDNS1123Subdomain(text)) > 0 {
				return protocol.Invalid("%v is no name of a Secret", value)
			}
			s.pullSecret = text
			return nil
		},
	}
}

func setBool(to *bool, value any) error {
	b, ok := value.(bool)
	if !ok {
		return protocol.Invalid("%v is neither true nor false", value)
	}
	*to = b
	return nil
}

func setLabels(s *settings, value any) error {
	raw, ok := value.(map[string]any)
	if !ok {
		return protocol.Invalid("%v is no map of labels", value)
	}
	s.namespaceLabels = map[string]string{}
	for name, value := range raw {
		text, ok := value.(string)
		if !ok || len(validation.IsQualifiedName(name)) > 0 || len(validation.IsValidLabelValue(text)) > 0 {
			return protocol.Invalid("%s: %v is no label", name, value)
		}
		s.namespaceLabels[name] = text
	}
	return nil
}

// localTopology is the built-in topology of a developer's machine, where a
// deploy that failed is left for the developer to look at.
const localTopology = "local"

func readSettings(topology string, from map[string]any) (settings, error) {
	s := settings{timeout: 5 * time.Minute, maxHistory: 10, rollback: topology != localTopology, crds: crdsCreate}
	known := setters()
	for _, name := range slices.Sorted(maps.Keys(from)) {
		set, ok := known[name]
		if !ok {
			return s, protocol.Invalid("%s is not a setting of adapter helm", name).
				WithHint("it has: %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if err := set(&s, from[name]); err != nil {
			return s, protocol.Invalid("%s: %w", name, err)
		}
	}
	return s, nil
}
