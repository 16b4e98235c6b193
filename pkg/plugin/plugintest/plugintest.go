// Package plugintest is the conformance kit for the tests of a plugin. It checks
// that a stage plugin keeps the contract of harmony's plugins: what it answers
// to describe, what it does with documents, failures, signals and bad input. Of an
// executable harmony-check-NAME it checks the contract of a kind of smoke check.
// `harmony plugin verify FILE` does the same for a plugin in any language.
package plugintest

import (
	"testing"

	"github.com/nationtech/harmony/internal/plugins/conformance"
)

// Test starts the plugin at path, an executable called harmony-NAME, and runs
// every check as a subtest. The plugin gets an empty folder, a home of its own,
// no kube context, and apps that have failed already or that no topology can
// serve.
func Test(t *testing.T, path string) {
	t.Helper()
	results, err := conformance.Verify(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		t.Run(r.Check, func(t *testing.T) {
			if !r.Passed {
				t.Errorf("%s\nbut: %s", r.Rule, r.Detail)
			}
		})
	}
}
