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
	o := orderer{
		byName: make(map[string]protocol.AppSpec, len(apps)),
		done:   make(map[string]bool, len(apps)),
	}
	for _, app := range apps {
		o.byName[app.Name] = app
	}
	for _, app := range apps {
		if err := o.visit(app); err != nil {
			return nil, protocol.Invalid("%w", err).WithHint("remove one of these dependsOn")
		}
	}
	return o.sorted, nil
}

// orderer walks the dependencies depth first.
type orderer struct {
	byName map[string]protocol.AppSpec
	done   map[string]bool
	trail  []string
	sorted []protocol.AppSpec
}

func (o *orderer) visit(app protocol.AppSpec) error {
	if o.done[app.Name] {
		return nil
	}
	if i := slices.Index(o.trail, app.Name); i >= 0 {
		return &CycleError{Apps: append(slices.Clone(o.trail[i:]), app.Name)}
	}
	o.trail = append(o.trail, app.Name)
	for _, name := range app.DependsOn {
		dependency, ok := o.byName[name]
		if !ok {
			continue
		}
		if err := o.visit(dependency); err != nil {
			return err
		}
	}
	o.trail = o.trail[:len(o.trail)-1]
	o.done[app.Name] = true
	o.sorted = append(o.sorted, app)
	return nil
}
