package process_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/plugins/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// plugin writes a shell script.
func plugin(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "harmony-publish")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts it; what it says besides results fails the test.
func start(t *testing.T, script string) *process.Process {
	t.Helper()
	p, err := process.Start(t.Context(), process.Plugin{Path: plugin(t, script)}, process.Observer{
		Event: func(e protocol.Event) { t.Errorf("event %+v", e) },
		Line:  func(line string) { t.Errorf("stderr: %s", line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var id = protocol.Metadata{Name: "app", Version: "1.0.0"}

// A stage that is gone before it has work tells then why, to whoever asks for
// work, not to whoever introduced an app.
func TestStageThatIsGone(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		code   int
		told   string
	}{
		"with a failure": {`echo '{"apiVersion":"harmony.nationtech.io/v1","kind":"Failure","metadata":{"name":""},"spec":{"stage":"publish","code":3,"message":"no such flag"}}'`, protocol.ExitUnsupported, "no such flag"},
		"silently":       {`exit 1`, protocol.ExitFailed, "ended without a result"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, "exec <&-\n"+test.script+"\n")
			for range 2 { // the second one finds it gone for sure
				if err := p.Send(protocol.AppSpec{Metadata: id}); err != nil {
					t.Error(err)
				}
				if err := p.Each(t.Context(), "nobody", nil); err != nil { // waits for its end
					t.Error(err)
				}
			}
			err := p.Send(protocol.ImageRef{Metadata: id})
			if err == nil {
				_, err = process.Await[protocol.ImageRef](t.Context(), p, id.Name)
			}
			if protocol.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.told) {
				t.Errorf("got %v", err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a stage only forwards is no result; of what it makes, each app gets its
// own.
func TestResultsByApp(t *testing.T) {
	const result = `echo '{"apiVersion":"harmony.nationtech.io/v1","kind":"ChartRef","metadata":{"name":"%","version":"1.0.0"},"spec":{"chart":"%"}}'`
	p := start(t, "read a; read b; echo \"$a\"; echo \"$b\"\n"+strings.ReplaceAll(result, "%", "other")+"\n"+strings.ReplaceAll(result, "%", "app")+"\ncat >/dev/null\n")
	other := protocol.Metadata{Name: "other", Version: "1.0.0"}
	for _, one := range []protocol.Metadata{id, other} {
		if err := p.Send(protocol.ImageRef{Metadata: one, Repository: one.Name}); err != nil {
			t.Fatal(err)
		}
	}
	for _, one := range []protocol.Metadata{id, other} {
		chart, err := process.Await[protocol.ChartRef](t.Context(), p, one.Name)
		if err != nil || chart.Chart != one.Name {
			t.Errorf("%s got %+v, %v", one.Name, chart, err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := process.Start(t.Context(), process.Plugin{Path: filepath.Join(t.TempDir(), "none")}, process.Observer{}); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("a plugin that is not there: %v", err)
	}
}
