package config_test

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/protocol"
)

func pipelineDocument(name, steps string) string {
	return "---\napiVersion: harmony.nationtech.io/v1\nkind: Pipeline\nmetadata: {name: " + name + "}\nspec: {pipeline: " + steps + "}\n"
}

func TestPipelineOfProject(t *testing.T) {
	const watched = "[release, {deploy: staging}, smoke, monitor]"
	one := load(t, "shop", pipelineDocument("watched", watched))
	both := load(t, "shop", pipelineDocument("watched", watched)+pipelineDocument("default", "[release]"))
	two := load(t, "shop", pipelineDocument("watched", watched)+pipelineDocument("other", "[release]"))
	for _, test := range []struct {
		project *config.Project
		name    string
		want    string
		says    string
	}{
		{nil, "", "", ""},
		{load(t, "shop", "---\napiVersion: harmony.nationtech.io/v1\nkind: Topology\nmetadata: {name: x}\nspec: {}\n"), "", "", ""},
		{one, "", "watched", ""},
		{one, "watched", "watched", ""},
		{both, "", "default", ""},
		{both, "watched", "watched", ""},
		{two, "", "", "has watched, other, none of which is named default"},
		{two, "watch", "", `no pipeline "watch", did you mean watched?`},
		{nil, "watch", "", `no pipeline "watch"`},
	} {
		got, err := test.project.Pipeline(test.name)
		switch {
		case test.says != "":
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%q: got %v, want %s", test.name, err, test.says)
			}
		case err != nil:
			t.Errorf("%q: %v", test.name, err)
		case got == nil && test.want != "" || got != nil && got.Name != test.want:
			t.Errorf("%q: got %+v, want %q", test.name, got, test.want)
		}
	}
	p, err := one.Pipeline("")
	if err != nil || len(p.Pipeline) != 4 || p.Pipeline[1] != (protocol.PipelineStep{Stage: "deploy", Target: "staging"}) {
		t.Errorf("steps %v, %v", p.Pipeline, err)
	}
}
