// Package plugintest checks that a stage plugin keeps the contract of harmony's
// plugins: what it answers to describe, what it does with documents, failures,
// signals and bad input. It starts the plugin as a process, so that the plugin
// may be written in any language, and gives it nothing that it could change: an
// empty folder, a home of its own, no kube context and apps that have failed
// already or that no topology can serve.
//
// [Verify] returns what holds and what does not; [Test] makes it a Go test.
// `harmony plugin verify FILE` prints it.
package plugintest
