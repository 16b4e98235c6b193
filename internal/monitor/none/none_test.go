package none_test

import (
	"testing"

	"github.com/nationtech/harmony/internal/monitor/none"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
	"github.com/nationtech/harmony/schemas"
)

func TestNothingToDo(t *testing.T) {
	monitoring, err := none.New(t.Context(), capability.Environment{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop", Version: "1.0.0"}, Monitoring: &protocol.Monitoring{Metrics: &protocol.Metrics{Port: "http"}}}
	result, err := monitoring.Monitor(t.Context(), app, "staging")
	if err != nil || !result.Unchanged || !result.Planned || result.Target != "staging" || result.Name != "shop" {
		t.Errorf("got %+v, %v", result, err)
	}
	d, err := protocol.Encode(result)
	if err != nil {
		t.Fatal(err)
	}
	if err := schemas.Validate(d.Bytes()); err != nil {
		t.Error(err)
	}
}
