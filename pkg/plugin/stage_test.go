package plugin_test

import (
	"testing"

	"github.com/nationtech/harmony/pkg/plugin"
)

// A plugin of another name can take the place of a stage.
func TestNameOfThePlugin(t *testing.T) {
	for name, want := range map[string]string{"": "smoke", "smoke-acme": "smoke-acme"} {
		info := plugin.Stage{Name: "smoke", Plugin: name}.Info(nil)
		if info.Name != want || info.Stage != "smoke" {
			t.Errorf("plugin %q: describe answers %q of stage %q", name, info.Name, info.Stage)
		}
	}
}
