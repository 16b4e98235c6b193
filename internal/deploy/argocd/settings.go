package argocd

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// options are the adapter's own settings in the topology.
type options struct {
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
	// failFast ends a deploy at what could still heal, such as a crash loop.
	failFast bool
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

func readSettings(env capability.Environment) (options, error) {
	s := options{
		namespace: "argocd", application: "{app}-{target}", project: "default",
		manage: true, rollback: true, timeout: 5 * time.Minute, setFrom: manyClusters,
	}
	option := func(text string) bool {
		key, value, ok := strings.Cut(text, "=")
		return ok && key != "" && value != ""
	}
	err := settings.Of(env, "continuousDelivery", settings.Table{
		"namespace":      settings.Text(&s.namespace),
		"context":        settings.Text(&s.context),
		"project":        settings.Text(&s.project),
		"application":    settings.Text(&s.application),
		"applicationSet": s.readApplicationSet,
		"manage":         settings.Bool(&s.manage),
		"failFast":       settings.Bool(&s.failFast),
		"rollback":       settings.Bool(&s.rollback),
		"syncOptions":    settings.List(&s.syncOptions, "options such as ServerSideApply=true", option),
		"destination":    s.readDestination,
		"timeout":        settings.Duration(&s.timeout),
		"drift":          settings.Chosen(&s.report, "report", "repair"),
	})
	if err == nil {
		err = s.ofCluster(env.Cluster)
	}
	return s, err
}

// readApplicationSet takes true, false, or from how many clusters on.
func (s *options) readApplicationSet(path string, value any) error {
	var on bool
	if settings.Bool(&on)(path, value) != nil {
		return settings.Whole(&s.setFrom, 1)(path, value)
	}
	if s.setFrom = 0; on {
		s.setFrom = 1
	}
	return nil
}

// ofCluster fits the settings to one of several clusters, whose Applications may
// lie side by side. They have the names that an ApplicationSet gives.
func (s *options) ofCluster(cluster string) error {
	switch {
	case cluster == "":
		return nil
	case s.name != "" || s.server != "":
		return errDestination()
	case !strings.Contains(s.application, "{cluster}"):
		s.application += "-{cluster}"
	}
	s.application = strings.ReplaceAll(s.application, "{cluster}", slug(cluster))
	return nil
}

func errDestination() error {
	return protocol.Invalid("destination: the target has several clusters, and this is one").WithHint("leave it out: a cluster is known to Argo CD by its API server")
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

func (s *options) readDestination(path string, value any) error {
	err := settings.Mapping(settings.Table{"name": settings.Text(&s.name), "server": settings.Text(&s.server)})(path, value)
	if err == nil && s.name != "" && s.server != "" {
		err = protocol.Invalid("%s has both a name and a server", path)
	}
	return err
}

// applicationOf is the name of an app's Application for a target.
func (s options) applicationOf(app, target string) string {
	return strings.NewReplacer("{app}", app, "{target}", target, "-{cluster}", "", "{cluster}", "").Replace(s.application)
}
