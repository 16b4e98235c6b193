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

func TestNoDowngradeWinsOverTargets(t *testing.T) {
	yes := true
	topology := protocol.Topology{Targets: map[string]protocol.Target{"production": {}, "staging": {NoDowngrade: &yes}}}
	for _, c := range []struct {
		args                []string
		production, staging bool
	}{
		{nil, true, true},
		{[]string{"--no-downgrade"}, true, true},
		{[]string{"--no-downgrade=false"}, false, false},
	} {
		var f Flags
		set := pflag.NewFlagSet("test", pflag.ContinueOnError)
		f.Bind(set)
		if err := set.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		got := f.over(capability.Environment{Topology: topology}).Topology
		if got.RefusesDowngrade("production") != c.production || got.RefusesDowngrade("staging") != c.staging {
			t.Errorf("%q: production %t, staging %t", c.args, got.RefusesDowngrade("production"), got.RefusesDowngrade("staging"))
		}
	}
	if topology.Targets["production"].NoDowngrade != nil {
		t.Error("the topology itself was changed")
	}
}
