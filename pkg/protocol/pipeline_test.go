package protocol_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestPipelineValidate(t *testing.T) {
	for steps, want := range map[string][]string{
		`["release",{"deploy":"staging"},"smoke","monitor",{"deploy":"production"},"smoke"]`: nil,
		`["release",{"deploy":"a"},{"deploy":"b"},{"smoke":"a"},{"monitor":"b"}]`:            nil,
		`["release",{"migrate":"a"},{"deploy":"a"},"smoke"]`:                                 nil,
		`["release",{"migrate":"a"},{"migrate":"b"},{"deploy":"a"},{"deploy":"b"}]`:          nil,
		`["release","migrate",{"deploy":"a"}]`:                                               {"spec.pipeline[1]"},
		`[{"migrate":"a"},"release",{"deploy":"a"}]`:                                         {"spec.pipeline[0]"},
		`["release",{"deploy":"a"},{"migrate":"a"}]`:                                         {"spec.pipeline[2]"},
		`["release",{"migrate":"a"},{"migrate":"a"},{"deploy":"a"}]`:                         {"spec.pipeline[2]"},
		`["release",{"migrate":"b"},{"deploy":"a"}]`:                                         {"spec.pipeline[1]"},
		`["release"]`:                               nil,
		`["scan","release"]`:                        nil,
		`[]`:                                        {"spec.pipeline"},
		`["build","publish"]`:                       {"spec.pipeline[0]", "spec.pipeline[1]"},
		`["release","release"]`:                     {"spec.pipeline[1]"},
		`[{"release":"staging"}]`:                   {"spec.pipeline[0]"},
		`[{"deploy":"staging"}]`:                    {"spec.pipeline[0]"},
		`["release","deploy"]`:                      {"spec.pipeline[1]"},
		`["release","smoke"]`:                       {"spec.pipeline[1]"},
		`["release",{"smoke":"staging"}]`:           {"spec.pipeline[1]"},
		`["release",{"monitor":"staging"}]`:         {"spec.pipeline[1]"},
		`["release",{"deploy":"a"},{"deploy":"a"}]`: {"spec.pipeline[2]"},
		`["release",{"deploy":"A"}]`:                {"spec.pipeline[1]"},
		`["Monitor"]`:                               {"spec.pipeline[0]"},
		`["../x"]`:                                  {"spec.pipeline[0]"},
		`[""]`:                                      {"spec.pipeline[0]"},
		`[7,true,null,{},{"a":"b","c":"d"},{"a":7},{"deploy":""},["release"]]`: {"spec.pipeline[0]", "spec.pipeline[1]", "spec.pipeline[2]", "spec.pipeline[3]", "spec.pipeline[4]", "spec.pipeline[5]", "spec.pipeline[6]", "spec.pipeline[7]"},
	} {
		p := protocol.Pipeline{Metadata: protocol.Metadata{Name: "main"}}
		if err := json.Unmarshal([]byte(steps), &p.Pipeline); err != nil {
			t.Fatalf("%s: %v", steps, err)
		}
		err := p.Validate()
		if got := fieldsOf(t, err); !slices.Equal(got, want) {
			t.Errorf("%s: problems at %q, want %q", steps, got, want)
		}
		if err != nil && strings.Contains(err.Error(), "no step: ") {
			t.Errorf("%s: the mark of what is no step is told: %v", steps, err)
		}
	}
	if got := fieldsOf(t, protocol.Pipeline{Metadata: protocol.Metadata{Name: "A"}, Pipeline: []protocol.PipelineStep{{Stage: "release"}}}.Validate()); !slices.Equal(got, []string{"metadata.name"}) {
		t.Errorf("problems at %q", got)
	}
}

func TestCapabilitiesOfTopology(t *testing.T) {
	topology := protocol.Topology{
		Metadata:   protocol.Metadata{Name: "ci"},
		Monitoring: &protocol.Provider{Adapter: "none"},
		Capabilities: map[string]protocol.Provider{
			"BackupStore": {Adapter: "s3"}, "Archive": {Plugin: "harmony-archive"},
		},
	}
	if err := topology.Validate(); err != nil {
		t.Error(err)
	}
	var names []string
	for _, c := range topology.Provided() {
		names = append(names, c.Capability)
	}
	if want := []string{"Monitoring", "Archive", "BackupStore"}; !slices.Equal(names, want) {
		t.Errorf("provided %q, want %q", names, want)
	}
	topology.Capabilities = map[string]protocol.Provider{"Monitoring": {Adapter: "none"}, "backup": {Adapter: "s3"}, "Empty": {}}
	if got, want := fieldsOf(t, topology.Validate()), []string{"spec.capabilities.Empty", "spec.capabilities.Monitoring", "spec.capabilities.backup"}; !slices.Equal(got, want) {
		t.Errorf("problems at %q, want %q", got, want)
	}
}
