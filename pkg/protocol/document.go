package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// APIVersion is the apiVersion of every document that this package writes.
const APIVersion = "harmony.nationtech.io/v1"

// MaxDocument is the largest document, in bytes, line end not counted.
const MaxDocument = 1 << 20

// Kind tells what a document's spec holds.
type Kind string

// The kinds of this version of the protocol. Others are forwarded unread.
const (
	KindAppSpec      Kind = "AppSpec"
	KindTopology     Kind = "Topology"
	KindImageRef     Kind = "ImageRef"
	KindChartRef     Kind = "ChartRef"
	KindDeployResult Kind = "DeployResult"
	KindSmokeReport  Kind = "SmokeReport"
	KindFailure      Kind = "Failure"
	KindPluginInfo   Kind = "PluginInfo"
	KindEvent        Kind = "Event"
	KindBuildContext Kind = "BuildContext"
	KindPipeline     Kind = "Pipeline"

	KindMonitoringResult Kind = "MonitoringResult"
	KindMigrationReport  Kind = "MigrationReport"
	KindCheckRequest     Kind = "CheckRequest"
	KindCheckAnswer      Kind = "CheckAnswer"
)

// Metadata correlates the documents of one release. Every typed document
// embeds it; on the wire it is the envelope's metadata, not a part of spec.
type Metadata struct {
	// Name is the app; for a Topology or a PluginInfo that thing's own name;
	// for a Failure of a whole stage it is empty.
	Name string `json:"name"`
	// Version is the release's semantic version, without a leading v.
	Version string `json:"version,omitempty"`
}

// Identity returns the metadata itself; it makes every type that embeds
// Metadata a [Spec].
func (m Metadata) Identity() Metadata { return m }

func (m *Metadata) setIdentity(id Metadata) { *m = id }

// Spec is a typed document: AppSpec, ImageRef and the others.
type Spec interface {
	// DocumentKind is the kind under which the document is written.
	DocumentKind() Kind
	// Identity is the envelope's metadata.
	Identity() Metadata
}

// Document is one document with its envelope read and its spec left as it is.
type Document struct {
	// APIVersion is that of the envelope.
	APIVersion string
	// Kind says what Spec is.
	Kind Kind
	// Metadata says which app and release it is about.
	Metadata Metadata
	// Spec is the rest, undecoded.
	Spec json.RawMessage

	line []byte
}

// Bytes returns the document's line exactly as it was read or encoded, without
// the line end. The caller does not change it.
func (d Document) Bytes() []byte { return d.line }

// Parse reads one line. The error says what is wrong with it. A document of a
// known kind in which an object has two fields of one name is refused: readers
// would differ in which of them they take.
func Parse(line []byte) (Document, error) {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if len(line) > MaxDocument {
		return Document{}, fmt.Errorf("document of %d bytes is over the limit of %d", len(line), MaxDocument)
	}
	if !utf8.Valid(line) {
		return Document{}, errors.New("document is not UTF-8")
	}
	var envelope map[string]json.RawMessage
	if err := unmarshal(line, &envelope); err != nil {
		return Document{}, fmt.Errorf("not a JSON object: %w", err)
	}
	d := Document{Spec: envelope["spec"], line: bytes.Clone(line)}
	for _, field := range []struct {
		name string
		into any
	}{{"apiVersion", &d.APIVersion}, {"kind", &d.Kind}, {"metadata", &d.Metadata}} {
		value, ok := envelope[field.name]
		switch {
		case ok:
			if err := unmarshal(value, field.into); err != nil {
				return Document{}, fmt.Errorf("document's %s: %w", field.name, err)
			}
		case field.name != "metadata":
			return Document{}, fmt.Errorf("document has no %s", field.name)
		}
	}
	switch {
	case d.APIVersion == "":
		return Document{}, errors.New("document has an empty apiVersion")
	case d.Kind == "":
		return Document{}, errors.New("document has an empty kind")
	}
	return d, d.checkDuplicates()
}

// checkDuplicates fails for two fields of one name in the spec of a known kind.
func (d Document) checkDuplicates() error {
	if !d.Known() || d.Spec == nil {
		return nil
	}
	if err := (&exact{text: d.Spec}).value(nil); err != nil {
		return fmt.Errorf("%s of %q: %w", d.Kind, d.Metadata.Name, err)
	}
	return nil
}

// Known reports whether the document is of this package's apiVersion and of a
// kind that it knows; any other is only forwarded.
func (d Document) Known() bool {
	if d.APIVersion != APIVersion {
		return false
	}
	switch d.Kind {
	case KindAppSpec, KindTopology, KindImageRef, KindChartRef, KindDeployResult,
		KindSmokeReport, KindFailure, KindPluginInfo, KindEvent, KindBuildContext, KindPipeline, KindMonitoringResult,
		KindMigrationReport, KindCheckRequest, KindCheckAnswer:
		return true
	}
	return false
}

// Encode makes the document of a typed value. It fails when the document would
// be larger than [MaxDocument]. A [Result] is the document that it was read from.
func Encode(s Spec) (Document, error) {
	if r, ok := s.(Result); ok {
		return r.Document, nil
	}
	return NewDocument(s.DocumentKind(), s.Identity(), s)
}

// NewDocument makes a document of any kind, also one that this package does not
// know; spec is anything that encodes to a JSON object.
func NewDocument(kind Kind, id Metadata, spec any) (Document, error) {
	body, err := marshal(spec)
	if err != nil {
		return Document{}, fmt.Errorf("encode %s of %q: %w", kind, id.Name, err)
	}
	line, err := marshal(struct {
		APIVersion string          `json:"apiVersion"`
		Kind       Kind            `json:"kind"`
		Metadata   Metadata        `json:"metadata"`
		Spec       json.RawMessage `json:"spec"`
	}{APIVersion, kind, id, body})
	if err != nil {
		return Document{}, fmt.Errorf("encode %s of %q: %w", kind, id.Name, err)
	}
	if len(line) > MaxDocument {
		return Document{}, Invalid("encode %s of %q: %d bytes are over the limit of %d", kind, id.Name, len(line), MaxDocument)
	}
	return Document{APIVersion: APIVersion, Kind: kind, Metadata: id, Spec: body, line: line}, nil
}

// marshal is json.Marshal without the HTML escapes, which would only make
// documents harder to read.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Decodable is a pointer to a typed document.
type Decodable[S any] interface {
	*S
	// DocumentKind is the kind under which the document is written.
	DocumentKind() Kind
	setIdentity(Metadata)
}

// Decode reads the spec of a document leniently: unknown fields are passed
// over. The names of fields are exact. It fails when the document is of another
// kind, a known field has the wrong type, or an object has two fields of one name.
//
//	image, err := protocol.Decode[protocol.ImageRef](document)
func Decode[S any, P Decodable[S]](d Document) (S, error) {
	var s S
	p := P(&s)
	if d.Kind != p.DocumentKind() {
		return s, fmt.Errorf("document is of kind %s, not %s", d.Kind, p.DocumentKind())
	}
	if len(d.Spec) == 0 {
		return s, fmt.Errorf("%s of %q has no spec", d.Kind, d.Metadata.Name)
	}
	if err := unmarshal(d.Spec, &s); err != nil {
		return s, fmt.Errorf("%s of %q: %w", d.Kind, d.Metadata.Name, err)
	}
	p.setIdentity(d.Metadata)
	return s, nil
}
