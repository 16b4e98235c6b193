package capability

import (
	"slices"
	"sync"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Made is a document with the stage that made it, and the target, which is empty
// for what is made for all of them.
type Made struct {
	// Stage is the name of the stage.
	Stage string
	// Target is where it was made for.
	Target string
	// Document is what was made.
	Document protocol.Spec
}

// Record holds the documents that the scores of a run have made so far: what a
// stream is between processes. The zero value is ready for use, by several
// goroutines.
type Record struct {
	// Observe, when set, sees every document as it is added, one at a time.
	Observe func(Made)

	mu   sync.Mutex
	made map[string][]Made // by app
}

// Add puts a document of a stage into the record. Of several of one kind for one
// app and target, the last holds.
func (r *Record) Add(stage, target string, s protocol.Spec) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made == nil {
		r.made = map[string][]Made{}
	}
	app := s.Identity().Name
	rest := slices.DeleteFunc(r.made[app], func(m Made) bool {
		return m.Target == target && m.Document.DocumentKind() == s.DocumentKind()
	})
	m := Made{stage, target, s}
	r.made[app] = append(rest, m)
	if r.Observe != nil {
		r.Observe(m)
	}
}

// Of lists the documents of some kinds for an app, in the order in which they
// were made: those of the target, and those for all of them.
func (r *Record) Of(app, target string, kinds ...protocol.Kind) []protocol.Spec {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []protocol.Spec
	for _, m := range r.made[app] {
		if (m.Target == "" || m.Target == target) && slices.Contains(kinds, m.Document.DocumentKind()) {
			list = append(list, m.Document)
		}
	}
	return list
}

// Artifacts returns the image and the chart of an app, and whether it has both.
func (r *Record) Artifacts(app string) (image protocol.ImageRef, chart protocol.ChartRef, ok bool) {
	for _, s := range r.Of(app, "", protocol.KindImageRef, protocol.KindChartRef) {
		switch d := s.(type) {
		case protocol.ImageRef:
			image = d
		case protocol.ChartRef:
			chart = d
		}
	}
	return image, chart, image.Name != "" && chart.Name != ""
}
