package argocd

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// settings are the adapter's own in the topology.
type settings struct {
	// namespace is where Applications lie, and context the kubeconfig's for the
	// cluster of Argo CD; the target's when empty.
	namespace, context string
	// application is the pattern of an Application's name.
	application string
	// project is the AppProject.
	project string
	// server or name is the destination as Argo CD knows it.
	server, name string
	// manage is false when the Application comes from Git.
	manage bool
	// rollback brings back what was there before a deploy that failed.
	rollback    bool
	syncOptions []string
	// report is true when drift is told and not repaired.
	report bool
	// timeout bounds a deploy, rollout and all, and a rollback once more.
	timeout time.Duration
	// setFrom is from how many clusters of a target on an ApplicationSet does the
	// fan-out; never when zero.
	setFrom int
}

// manyClusters is past what one client should drive.
const manyClusters = 100

// local is the built-in topology of a developer's own machine.
const local = "local"

func readSettings(from map[string]any, topology string) (settings, error) {
	s := settings{
		namespace: "argocd", application: "{app}-{target}", project: "default",
		manage: true, rollback: topology != local, timeout: 5 * time.Minute, setFrom: manyClusters,
	}
	fields := s.fields()
	for _, name := range slices.Sorted(maps.Keys(from)) {
		read, ok := fields[name]
		if !ok {
			return s, unknown("", name, fields)
		}
		if err := read(from[name]); err != nil {
			return s, protocol.Invalid("%s: %w", name, err)
		}
	}
	return s, nil
}

// fields are the settings by name, each with its reader.
func (s *settings) fields() map[string]func(any) error {
	return map[string]func(any) error{
		"namespace": text(&s.namespace), "context": text(&s.context), "project": text(&s.project),
		"application": text(&s.application), "applicationSet": s.readApplicationSet, "manage": flag(&s.manage), "rollback": flag(&s.rollback),
		"syncOptions": s.readSyncOptions, "destination": s.readDestination, "timeout": s.readTimeout,
		"drift": s.readDrift,
	}
}

func unknown(of, name string, fields map[string]func(any) error) error {
	names := slices.Sorted(maps.Keys(fields))
	hint := "it has: " + strings.Join(names, ", ")
	if near := nearest.Name(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q? %s", near, hint)
	}
	return protocol.Invalid("%s%s is not a setting of adapter %s", of, name, Name).WithHint("%s", hint)
}

func text(into *string) func(any) error {
	return func(value any) error {
		text, ok := value.(string)
		if !ok || text == "" {
			return fmt.Errorf("%v is not a text", value)
		}
		*into = text
		return nil
	}
}

func flag(into *bool) func(any) error {
	return func(value any) error {
		set, ok := value.(bool)
		if !ok {
			return fmt.Errorf("%v is neither true nor false", value)
		}
		*into = set
		return nil
	}
}

func (s *settings) readApplicationSet(value any) error {
	switch v := value.(type) {
	case bool:
		if s.setFrom = 0; v {
			s.setFrom = 1
		}
		return nil
	case int:
		s.setFrom = v
	case float64:
		s.setFrom = int(v)
	default:
		s.setFrom = 0
	}
	if s.setFrom < 1 {
		return fmt.Errorf("%v is neither true, false nor from how many clusters on", value)
	}
	return nil
}

// ofCluster fits the settings to one of several clusters, whose Applications may
// lie side by side. They have the names that an ApplicationSet gives.
func (s *settings) ofCluster(cluster string) error {
	switch {
	case cluster == "":
		return nil
	case s.name != "" || s.server != "":
		return protocol.Invalid("destination: the target has several clusters, and this is one").WithHint("leave it out: a cluster is known to Argo CD by its API server")
	case !strings.Contains(s.application, "{cluster}"):
		s.application += "-{cluster}"
	}
	s.application = strings.ReplaceAll(s.application, "{cluster}", slug(cluster))
	return nil
}

// slug is the name of a cluster as a part of an object's name.
func slug(cluster string) string {
	const most = 40
	made := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(cluster)), "-")
	if made == cluster && len(made) <= most {
		return made
	}
	return strings.TrimLeft(made[:min(len(made), most)]+fmt.Sprintf("-%x", sha256.Sum256([]byte(cluster)))[:9], "-")
}

func (s *settings) readTimeout(value any) error {
	text, _ := value.(string)
	timeout, err := time.ParseDuration(text)
	if err != nil || timeout <= 0 {
		return fmt.Errorf("%v is not a duration such as 5m", value)
	}
	s.timeout = timeout
	return nil
}

func (s *settings) readDrift(value any) error {
	if value != "repair" && value != "report" {
		return fmt.Errorf("%v is neither repair nor report", value)
	}
	s.report = value == "report"
	return nil
}

func (s *settings) readSyncOptions(value any) error {
	list, ok := value.([]any)
	if !ok {
		return fmt.Errorf("%v is not a list such as [ServerSideApply=true]", value)
	}
	for _, member := range list {
		option, _ := member.(string)
		if key, set, ok := strings.Cut(option, "="); !ok || key == "" || set == "" {
			return fmt.Errorf("%v is not an option such as ServerSideApply=true", member)
		}
		s.syncOptions = append(s.syncOptions, option)
	}
	return nil
}

func (s *settings) readDestination(value any) error {
	given, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%v is neither {name: …} nor {server: …}", value)
	}
	fields := map[string]func(any) error{"name": text(&s.name), "server": text(&s.server)}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		read, ok := fields[name]
		if !ok {
			return unknown("destination.", name, fields)
		}
		if err := read(given[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if s.name != "" && s.server != "" {
		return fmt.Errorf("it has both a name and a server")
	}
	return nil
}

// applicationOf is the name of an app's Application for a target.
func (s settings) applicationOf(app, target string) string {
	return strings.NewReplacer("{app}", app, "{target}", target, "-{cluster}", "", "{cluster}", "").Replace(s.application)
}
