package helm

import (
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// options are the adapter's own settings in the topology.
type options struct {
	// timeout bounds a deploy, rollout and all; a rollback has as much again.
	timeout time.Duration
	// maxHistory is how many revisions Helm keeps.
	maxHistory int
	// failFast ends a deploy at what could still heal, such as a crash loop.
	failFast bool
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

func readSettings(env capability.Environment) (options, error) {
	s := options{timeout: 5 * time.Minute, maxHistory: 10, rollback: true, crds: crdsCreate}
	err := settings.Of(env, "continuousDelivery", settings.Table{
		"timeout":    settings.Duration(&s.timeout),
		"maxHistory": settings.Whole(&s.maxHistory, 1),
		"failFast":   settings.Bool(&s.failFast),
		"rollback":   settings.Bool(&s.rollback),
		"tests":      settings.Bool(&s.tests),
		"drift":      settings.Chosen(&s.reportDrift, "report", "repair"),
		"crds":       settings.OneOf(&s.crds, crdsCreate, crdsUpgrade, crdsSkip),
		"wait": func(path string, value any) (err error) {
			if s.wait, err = rollout.ReadPolicies(value); err != nil {
				err = protocol.Invalid("%s: %w", path, err)
			}
			return err
		},
		"namespaceLabels": settings.Labels(&s.namespaceLabels, "valid labels", func(name, value string) bool {
			return len(validation.IsQualifiedName(name)) == 0 && len(validation.IsValidLabelValue(value)) == 0
		}),
		"pullSecret": s.readPullSecret,
	})
	return s, err
}

func (s *options) readPullSecret(path string, value any) error {
	err := settings.Text(&s.pullSecret)(path, value)
	if err == nil && len(validation.IsDNS1123Subdomain(s.pullSecret)) > 0 {
		err = protocol.Invalid("%s: %s is not a valid Secret name", path, s.pullSecret)
	}
	return err
}
