package capability

import (
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// CycleError is a ring of apps that depend on each other.
type CycleError struct {
	// Apps are the names along the ring; the first one is also the last.
	Apps []string
}

// Error implements error.
func (e *CycleError) Error() string {
	return "dependsOn goes in a circle: " + strings.Join(e.Apps, " -> ")
}

// Order sorts apps so that each comes after those that it depends on. Apart
// from that the given order stays. Dependencies that are not among the apps are
// passed over. A cycle is an error of status protocol.ExitInvalid that holds a
// [CycleError].
func Order(apps []protocol.AppSpec) ([]protocol.AppSpec, error) {
	byName, done := map[string]protocol.AppSpec{}, map[string]bool{}
	for _, app := range apps {
		byName[app.Name] = app
	}
	var sorted []protocol.AppSpec
	var trail []string
	var visit func(protocol.AppSpec) error
	visit = func(app protocol.AppSpec) error {
		if done[app.Name] {
			return nil
		}
		if i := slices.Index(trail, app.Name); i >= 0 {
			return &CycleError{Apps: append(slices.Clone(trail[i:]), app.Name)}
		}
		trail = append(trail, app.Name)
		for _, name := range app.DependsOn {
			if dependency, ok := byName[name]; ok {
				if err := visit(dependency); err != nil {
					return err
				}
			}
		}
		trail = trail[:len(trail)-1]
		done[app.Name] = true
		sorted = append(sorted, app)
		return nil
	}
	for _, app := range apps {
		if err := visit(app); err != nil {
			return nil, protocol.Invalid("%w", err).WithHint("remove one of these dependsOn")
		}
	}
	return sorted, nil
}
