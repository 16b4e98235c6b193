package fan

import (
	"reflect"
	"testing"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestFlagsWinOverSettings(t *testing.T) {
	configured := map[string]any{"rollback": true, "timeout": "1m"}
	for _, c := range []struct {
		args []string
		want map[string]any
	}{
		{nil, configured},
		{[]string{"--rollback-on-failure=false"}, map[string]any{"rollback": false, "timeout": "1m"}},
	} {
		var f Flags
		set := pflag.NewFlagSet("test", pflag.ContinueOnError)
		f.Bind(set)
		if err := set.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		got := f.over(capability.Environment{Provider: protocol.Provider{Settings: configured}}).Provider.Settings
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: settings %v, want %v", c.args, got, c.want)
		}
	}
	if configured["rollback"] != true {
		t.Error("the topology's own settings were changed")
	}
}
