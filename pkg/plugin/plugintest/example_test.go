package plugintest_test

import (
	"testing"

	"github.com/nationtech/harmony/pkg/plugin/plugintest"
)

// A plugin's own test builds the plugin and holds it to the contract.
func Example() {
	_ = func(t *testing.T) {
		plugintest.Test(t, "./harmony-foo")
	}
	// Output:
}
