// Package protocol holds the documents that the stages of a release exchange,
// and their codec.
//
// A stream is NDJSON: UTF-8, one JSON document a line, at most [MaxDocument]
// bytes each. Documents point at bytes (a registry digest, an OCI layout
// folder, a path); they never carry bytes or secrets. Every document has the
// same envelope:
//
//	{"apiVersion":"harmony.nationtech.io/v1","kind":"ImageRef",
//	 "metadata":{"name":"fleet-operator","version":"1.4.0"},"spec":{}}
//
// metadata.name is the app and metadata.version the release's semantic
// version: together they correlate the documents of one release.
//
// Decoding is lenient, so that a newer stage works with an older one: an
// unknown field is passed over, and a document that is forwarded keeps its
// bytes ([Document.Bytes]). Configuration files are decoded strictly, by the
// reader of harmony.yaml, not here.
//
// The package imports the standard library and semver only, so that a plugin
// that uses it stays small. Types and fields are only ever added: a document
// of apiVersion v1 stays readable.
package protocol
