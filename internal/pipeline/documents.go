package pipeline

import (
	"slices"
	"sync"

	"github.com/nationtech/harmony/pkg/protocol"
)

// documents remembers what the stages of a run have made. The zero value is
// empty; it is for use by several goroutines.
type documents struct {
	mu   sync.Mutex
	made map[string][]made // by app
}

// made is a document, of a target unless that is empty.
type made struct {
	target string
	spec   protocol.Spec
}

// add keeps a document. Of several of one kind for one app and target the last
// holds.
func (d *documents) add(s protocol.Spec, target string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.made == nil {
		d.made = map[string][]made{}
	}
	app := s.Identity().Name
	rest := slices.DeleteFunc(d.made[app], func(m made) bool {
		return m.target == target && m.spec.DocumentKind() == s.DocumentKind()
	})
	d.made[app] = append(rest, made{target, s})
}

// of lists the documents of some kinds for an app, in the order in which they
// were made: those of the target, and those of none.
func (d *documents) of(app, target string, kinds ...protocol.Kind) []protocol.Spec {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []protocol.Spec
	for _, m := range d.made[app] {
		if (m.target == "" || m.target == target) && slices.Contains(kinds, m.spec.DocumentKind()) {
			list = append(list, m.spec)
		}
	}
	return list
}
