package flux

import (
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/pkg/capability"
)

// options are the adapter's own settings in the topology.
type options struct {
	// timeout bounds one Helm action of Flux, rollout and all: spec.timeout.
	timeout time.Duration
	// interval is how often Flux looks again by itself.
	interval time.Duration
	// maxHistory is how many revisions Helm keeps.
	maxHistory int
	// sourceNamespace holds the OCIRepository; the target's when empty.
	sourceNamespace string
	// secretRef names a Secret beside the OCIRepository with the credentials for
	// the registry, serviceAccount whom Flux acts as.
	secretRef, serviceAccount string
	// failFast ends a deploy at what could still heal, such as a crash loop.
	failFast bool
	// rollback makes Flux go back to the revision before when an upgrade fails.
	rollback bool
	// retries is how often Flux tries again before that is final.
	retries int
	// reportDrift leaves objects that somebody changed as they are and tells them;
	// else Flux mends them. driftIgnore are JSON pointers of fields that are left
	// alone, such as /spec/replicas beside an autoscaler.
	reportDrift bool
	driftIgnore []string
	// force takes over objects and fields of others.
	force bool
}

// slack is how long Flux may take to begin, over the timeout of its work.
const slack = 30 * time.Second

// bound is how long a deploy may take. A rollback takes as long as the upgrade.
func (s options) bound() time.Duration {
	if s.rollback {
		return 2 * (s.timeout + slack)
	}
	return s.timeout + slack
}

func readSettings(env capability.Environment) (options, error) {
	s := options{timeout: 5 * time.Minute, interval: 10 * time.Minute, maxHistory: 10, rollback: true}
	pointer := func(text string) bool { return strings.HasPrefix(text, "/") }
	err := settings.Of(env, "continuousDelivery", settings.Table{
		"timeout":         settings.Duration(&s.timeout),
		"interval":        settings.Duration(&s.interval),
		"maxHistory":      settings.Whole(&s.maxHistory, 1),
		"sourceNamespace": settings.Text(&s.sourceNamespace),
		"secretRef":       settings.Text(&s.secretRef),
		"serviceAccount":  settings.Text(&s.serviceAccount),
		"failFast":        settings.Bool(&s.failFast),
		"rollback":        settings.Bool(&s.rollback),
		"retries":         settings.Whole(&s.retries, 0),
		"drift":           settings.Chosen(&s.reportDrift, "report", "repair"),
		"driftIgnore":     settings.List(&s.driftIgnore, "JSON pointers such as /spec/replicas", pointer),
		"force":           settings.Bool(&s.force),
	})
	return s, err
}
