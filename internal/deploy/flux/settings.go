package flux

import (
	"fmt"
	"slices"
	"strings"
	"time"

	deployvalues "github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// settings are the adapter's own in the topology.
type settings struct {
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
func (s settings) bound() time.Duration {
	if s.rollback {
		return 2 * (s.timeout + slack)
	}
	return s.timeout + slack
}

// readers take one setting each.
var readers = map[string]func(*settings, any) error{
	"timeout":         func(s *settings, v any) error { return readDuration(&s.timeout, v) },
	"interval":        func(s *settings, v any) error { return readDuration(&s.interval, v) },
	"maxHistory":      func(s *settings, v any) error { return readNumber(&s.maxHistory, v, 1) },
	"sourceNamespace": func(s *settings, v any) error { return readText(&s.sourceNamespace, v) },
	"secretRef":       func(s *settings, v any) error { return readText(&s.secretRef, v) },
	"serviceAccount":  func(s *settings, v any) error { return readText(&s.serviceAccount, v) },
	"rollback":        func(s *settings, v any) error { return readBool(&s.rollback, v) },
	"retries":         func(s *settings, v any) error { return readNumber(&s.retries, v, 0) },
	"drift":           func(s *settings, v any) error { return readDrift(&s.reportDrift, v) },
	"driftIgnore":     func(s *settings, v any) error { return readPointers(&s.driftIgnore, v) },
	"force":           func(s *settings, v any) error { return readBool(&s.force, v) },
}

func readSettings(from map[string]any, topology string) (settings, error) {
	s := settings{
		timeout: 5 * time.Minute, interval: 10 * time.Minute, maxHistory: 10,
		rollback: topology != "local",
	}
	for name, value := range from {
		read, ok := readers[name]
		if !ok {
			return s, unknownSetting(name)
		}
		if err := read(&s, value); err != nil {
			return s, protocol.Invalid("%s: %w", name, err)
		}
	}
	return s, nil
}

func unknownSetting(name string) error {
	var names []string
	for known := range readers {
		names = append(names, known)
	}
	slices.Sort(names)
	hint := "it has: " + strings.Join(names, ", ")
	if near := nearest.Name(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q? %s", near, hint)
	}
	return protocol.Invalid("%s is not a setting of adapter flux", name).WithHint("%s", hint)
}

// readDuration keeps to what Flux can write: whole milliseconds.
func readDuration(into *time.Duration, value any) error {
	text, _ := value.(string)
	duration, err := time.ParseDuration(text)
	if err != nil || duration <= 0 || duration%time.Millisecond != 0 {
		return fmt.Errorf("%v is not a duration such as 5m", value)
	}
	*into = duration
	return nil
}

func readNumber(into *int, value any, least int64) error {
	n, ok := deployvalues.Whole(value).(int64)
	if small, isInt := value.(int); isInt {
		n, ok = int64(small), true
	}
	if !ok || n < least || n > 1<<20 {
		return fmt.Errorf("%v is not a whole number of %d or more", value, least)
	}
	*into = int(n)
	return nil
}

func readText(into *string, value any) error {
	text, ok := value.(string)
	if !ok || text == "" {
		return fmt.Errorf("%v is not a name", value)
	}
	*into = text
	return nil
}

func readBool(into *bool, value any) error {
	given, ok := value.(bool)
	if !ok {
		return fmt.Errorf("%v is neither true nor false", value)
	}
	*into = given
	return nil
}

func readDrift(report *bool, value any) error {
	text, _ := value.(string)
	if text != "repair" && text != "report" {
		return fmt.Errorf("%v is neither repair nor report", value)
	}
	*report = text == "report"
	return nil
}

func readPointers(into *[]string, value any) error {
	list, ok := value.([]any)
	if !ok {
		return fmt.Errorf("%v is not a list", value)
	}
	for _, member := range list {
		pointer, _ := member.(string)
		if !strings.HasPrefix(pointer, "/") {
			return fmt.Errorf("%v is not a JSON pointer such as /spec/replicas", member)
		}
		*into = append(*into, pointer)
	}
	return nil
}
