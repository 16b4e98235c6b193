// Package plugin is the runtime of a stage plugin: the rules by which the
// stages of a release fit together, whoever wrote them.
//
// A stage reads documents, forwards each of them, and appends its results:
//
//   - The documents come from a stream (stdin as a pipe or file), else from the
//     project's configuration.
//   - An app's work starts as soon as the documents that it needs are there, so
//     that the stages of a pipe overlap.
//   - A failure is written as a Failure document, and is the exit status. An
//     app with a Failure gets no more work, and the stage ends with that
//     failure's code.
//   - One app's failure does not stop the others.
//   - A cancelled context ends the work, and the stage with status 130.
//
// [Stage.Run] takes streams and returns the exit status; package command puts a
// command line in front of it. [Build], [Publish], [Deploy], [Smoke]
// and [Monitor] make the stages of the suite from tables of adapters; a plugin
// with one adapter of its own uses them as well.
//
// The package imports the standard library, protocol and capability only.
package plugin
