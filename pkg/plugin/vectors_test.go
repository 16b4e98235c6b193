package plugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// stageVector is a stream and what a smoke stage makes of it to which everything
// is healthy: see docs/protocol.md.
type stageVector struct {
	Name  string
	Stdin []string
	// Forwarded is how many of the lines come out again; all when zero.
	Forwarded int
	// Appended are the stage's own documents.
	Appended []appended
	Status   int
}

type appended struct {
	Kind protocol.Kind
	// Name is the app's, and Code that of a Failure.
	Name string
	Code int
}

// healthy is a checker to which everything is.
type healthy struct{}

func (healthy) Check(_ context.Context, app protocol.AppSpec, target string) (protocol.SmokeReport, error) {
	return protocol.SmokeReport{Metadata: app.Metadata, Target: target, Passed: true}, nil
}

func TestStageVectors(t *testing.T) {
	text, err := os.ReadFile("../protocol/testdata/vectors/stages.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []stageVector
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors: %v", len(vectors), err)
	}
	for _, v := range vectors {
		t.Run(v.Name, v.check)
	}
}

func (v stageVector) check(t *testing.T) {
	stage := plugin.Smoke("1.0.0", func(context.Context, capability.Environment) (capability.Checker, error) { return healthy{}, nil })
	var out bytes.Buffer
	status := stage.Run(t.Context(), plugin.Invocation{Stdin: strings.NewReader(strings.Join(v.Stdin, "\n")), Stdout: &out})
	if status != v.Status {
		t.Errorf("status %d, want %d", status, v.Status)
	}
	forwarded := v.Stdin
	if v.Forwarded > 0 {
		forwarded = v.Stdin[:v.Forwarded]
	}
	var own []appended
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		if len(forwarded) > 0 && line == forwarded[0] {
			forwarded = forwarded[1:]
			continue
		}
		own = append(own, read(t, line))
	}
	if len(forwarded) > 0 {
		t.Errorf("not forwarded in its place: %s\nin\n%s", forwarded[0], out.String())
	}
	if !slices.Equal(own, v.Appended) && len(own)+len(v.Appended) > 0 {
		t.Errorf("appended %+v, want %+v", own, v.Appended)
	}
}

func read(t *testing.T, line string) appended {
	t.Helper()
	d, err := protocol.Parse([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	own := appended{Kind: d.Kind, Name: d.Metadata.Name}
	if d.Kind == protocol.KindFailure {
		failure, err := protocol.Decode[protocol.Failure](d)
		if err != nil {
			t.Fatal(err)
		}
		own.Code = failure.Code
	}
	return own
}
