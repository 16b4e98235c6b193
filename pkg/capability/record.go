package capability

import (
	"sync"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Record holds the documents that the scores of a run have made so far: what a
// stream is between processes. The zero value is ready for use, by several
// goroutines.
type Record struct {
	// Observe, when set, sees every document as it is added, one at a time.
	Observe func(protocol.Spec)

	mu     sync.Mutex
	images map[string]protocol.ImageRef
	charts map[string]protocol.ChartRef
}

// Add puts a document into the record. Of several of one kind for one app, the
// last holds.
func (r *Record) Add(s protocol.Spec) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch d := s.(type) {
	case protocol.ImageRef:
		if r.images == nil {
			r.images = map[string]protocol.ImageRef{}
		}
		r.images[d.Name] = d
	case protocol.ChartRef:
		if r.charts == nil {
			r.charts = map[string]protocol.ChartRef{}
		}
		r.charts[d.Name] = d
	}
	if r.Observe != nil {
		r.Observe(s)
	}
}

// Artifacts returns the image and the chart of an app, and whether it has both.
func (r *Record) Artifacts(app string) (protocol.ImageRef, protocol.ChartRef, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	image, hasImage := r.images[app]
	chart, hasChart := r.charts[app]
	return image, chart, hasImage && hasChart
}
