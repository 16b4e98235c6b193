package protocol

import "encoding/json"

// Result is a result document of any kind, also of one that this package does
// not know, with what every result may tell of itself. It is encoded as the
// document that it was read from.
type Result struct {
	// Document is what was read.
	Document `json:"-"`
	// Target is where it was done, and Adapter the one that did it.
	Target string `json:"target"`
	// Adapter is what did it.
	Adapter string `json:"adapter"`
	// Summary is a line for people.
	Summary string `json:"summary"`
	// Unchanged is true when there was nothing to do, Planned in a dry run.
	Unchanged bool `json:"unchanged"`
	// Planned is true in a dry run.
	Planned bool `json:"planned"`
	// Capability is the one that the stage stands for, where the reader knows it.
	Capability string `json:"-"`
}

// DocumentKind implements [Spec].
func (r Result) DocumentKind() Kind { return r.Kind }

// Identity implements [Spec].
func (r Result) Identity() Metadata { return r.Metadata }

// ResultOf reads what a document tells of itself. A field that the kind uses for
// something else is left empty.
func ResultOf(d Document) Result {
	r := Result{Document: d}
	var fields map[string]json.RawMessage
	if json.Unmarshal(d.Spec, &fields) != nil {
		return r
	}
	for name, into := range map[string]any{
		"target": &r.Target, "adapter": &r.Adapter, "summary": &r.Summary, "unchanged": &r.Unchanged, "planned": &r.Planned,
	} {
		// What is of another type stays unset.
		_ = json.Unmarshal(fields[name], into)
	}
	return r
}
