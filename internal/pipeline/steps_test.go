package pipeline_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/pipeline"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestSteps(t *testing.T) {
	topology := protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}, Targets: map[string]protocol.Target{"staging": {}, "production": {}, "edge": {}}}
	const watched = `["scan","release",{"deploy":"staging"},"smoke","monitor",{"deploy":"production"},"smoke",{"monitor":"staging"}]`
	migrated := []protocol.AppSpec{{}, {Migrations: []protocol.Migration{{Name: "schema"}}}}
	for _, test := range []struct {
		pipeline, asked string
		steps, targets  string
		code            int
	}{
		{"", "", "release, deploy staging, smoke staging, deploy production, smoke production", "staging production", 0},
		{"", "edge", "release, deploy edge, smoke edge", "edge", 0},
		{"", "moon", "", "", protocol.ExitUnsupported},
		{"", "edge edge", "", "", protocol.ExitInvalid},
		{watched, "", "scan, release, deploy staging, smoke staging, monitor staging, deploy production, smoke production, monitor staging", "staging production", 0},
		{watched, "production", "scan, release, deploy production, smoke production", "production", 0},
		{watched, "edge", "", "", protocol.ExitInvalid},
		{`["release"]`, "", "release", "", 0},
		{`["release",{"deploy":"moon"}]`, "", "", "", protocol.ExitUnsupported},
	} {
		var own *protocol.Pipeline
		if test.pipeline != "" {
			own = &protocol.Pipeline{Metadata: protocol.Metadata{Name: "main"}}
			if err := json.Unmarshal([]byte(test.pipeline), &own.Pipeline); err != nil {
				t.Fatal(err)
			}
		}
		steps, targets, err := pipeline.Steps(own, topology, strings.Fields(test.asked), nil)
		if code := protocol.ExitCode(err); code != test.code {
			t.Errorf("%s %s: exit status %d, want %d: %v", test.pipeline, test.asked, code, test.code, err)
		}
		var names []string
		for _, s := range steps {
			names = append(names, s.String())
		}
		if got := strings.Join(names, ", "); got != test.steps || strings.Join(targets, " ") != test.targets {
			t.Errorf("%s %s: got %s; %q", test.pipeline, test.asked, got, targets)
		}
	}
	steps, _, err := pipeline.Steps(nil, topology, []string{"edge"}, migrated)
	if err != nil || len(steps) != 4 || steps[1].String() != "migrate edge" || steps[2].String() != "deploy edge" {
		t.Errorf("with migrations: %v, %v", steps, err)
	}
}
