package command_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// project is one with the app shop, and a topology that may be changed.
type project struct{ topology protocol.Topology }

func (p project) Topology(context.Context, command.Ask) (protocol.Topology, error) {
	p.topology.Name = "here"
	return p.topology, nil
}

func (p project) Apps(ctx context.Context, ask command.Ask, patterns []string) (protocol.Topology, []protocol.AppSpec, error) {
	t, err := p.Topology(ctx, ask)
	if len(patterns) > 0 && patterns[0] == "nobody" {
		return t, nil, protocol.Invalid("no app %q", "nobody").WithHint("there is shop")
	}
	return t, []protocol.AppSpec{app("shop")}, err
}

func (project) Names(command.Ask) ([]string, error) { return []string{"shop"}, nil }

func app(name string) protocol.AppSpec {
	return protocol.AppSpec{
		Metadata: protocol.Metadata{Name: name, Version: "1.0.0"},
		Image:    protocol.ImageSource{Buildable: &protocol.Buildable{Type: "go"}},
		Chart:    protocol.ChartSource{Path: "chart", Image: protocol.ImagePlaces{{Value: "image"}}},
	}
}

// stage answers with an ImageRef, once it has documents of these kinds as well.
func stage(needs ...protocol.Kind) plugin.Stage {
	return plugin.Stage{
		Name: "test", Version: "1.0.0", Description: "Test", Needs: append([]protocol.Kind{protocol.KindAppSpec}, needs...),
		Capabilities: map[string][]string{capability.NameOCIRegistry: {"oci"}},
		Open: func(context.Context, plugin.Environment) (plugin.Work, error) {
			return func(_ context.Context, _ plugin.Inputs, emit func(protocol.Spec)) error {
				emit(protocol.ImageRef{Repository: "made"})
				return nil
			}, nil
		},
	}
}

// result is what a command line did.
type result struct {
	code        int
	out, stderr string
}

func run(t *testing.T, s plugin.Stage, streams command.Streams, args []string, options ...command.Option) result {
	t.Helper()
	var out, stderr bytes.Buffer
	streams.Out, streams.Err = &out, &stderr
	if streams.Getenv == nil {
		streams.Getenv = environment(t, nil)
	}
	if streams.Project == nil {
		streams.Project = project{}
	}
	code := command.Main(t.Context(), s, streams, args, options...)
	return result{code, out.String(), stderr.String()}
}

func environment(t *testing.T, env map[string]string) func(string) string {
	cache := t.TempDir()
	return func(name string) string {
		if name == "XDG_CACHE_HOME" {
			return cache
		}
		return env[name]
	}
}

func stream(t *testing.T, specs ...protocol.Spec) string {
	t.Helper()
	var text bytes.Buffer
	for _, s := range specs {
		if err := protocol.NewWriter(&text).WriteSpec(s); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// An error of the command line is told to the next stage too; one of a command
// that ran is told to people, with its own status.
func TestErrors(t *testing.T) {
	failing := func(err error) command.Option {
		return command.Subcommand(&cobra.Command{Use: "sub", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return err }})
	}
	for _, test := range []struct {
		name    string
		args    []string
		err     error
		code    int
		stderr  string
		failure bool
	}{
		{"unknown flag", []string{"--nonsense"}, nil, 2, "See 'harmony-test --help'", true},
		{"output", []string{"-o", "yaml"}, nil, 2, "See 'harmony-test --help'", true},
		{"arguments of a subcommand", []string{"sub", "x"}, nil, 2, "See 'harmony-test --help'", true},
		{"a plain error", []string{"sub"}, errors.New("it broke"), 1, "error: it broke\n", false},
		{"one with a status", []string{"sub"}, protocol.Unsupported("not here").WithHint("go there"), 3, "error: not here\nhint: go there\n", false},
		{"one whose status no process has", []string{"sub"}, &protocol.Error{Code: 512, Message: "no"}, 1, "error: no\n", false},
		{"the project", []string{"nobody"}, nil, 2, "there is shop", true},
		{"none", []string{"shop"}, nil, 0, "built image shop", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := run(t, stage(), command.Streams{}, test.args, failing(test.err))
			if r.code != test.code || !strings.Contains(r.stderr, test.stderr) || strings.Contains(r.out, `"Failure"`) != test.failure {
				t.Errorf("%+v", r)
			}
		})
	}
}

// socket is the end of a connection whose other end stays silent.
func socket(t *testing.T) *os.File {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	file, err := connection.(*net.UnixConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close(); file.Close() })
	return file
}

// pipe is a pipe to which nobody writes.
func pipe(t *testing.T) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close(); writer.Close() })
	return reader
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func TestStdin(t *testing.T) {
	closed := pipe(t)
	closed.Close()
	for name, in := range map[string]io.Reader{
		"a silent pipe": pipe(t), "a silent socket": socket(t), "an empty stream": strings.NewReader(""),
		"/dev/null": open(t, os.DevNull), "closed": closed, "nothing": nil,
	} {
		for _, args := range [][]string{{"shop"}, {"--all"}, {"-f", "harmony.yaml"}} {
			if r := run(t, stage(), command.Streams{In: in}, args); r.code != 0 || strings.Count(r.out, `"made"`) != 1 {
				t.Errorf("%s, %v: %+v", name, args, r)
			}
		}
		if strings.Contains(name, "silent") {
			continue // without arguments it is waited for
		}
		if r := run(t, stage(), command.Streams{In: in}, nil); r.code != 0 || strings.Count(r.out, `"made"`) != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// A stage that needs more takes it from a stream, for the apps named.
	text := stream(t, protocol.Topology{Metadata: protocol.Metadata{Name: "there"}}, app("a"), app("b"),
		protocol.ImageRef{Metadata: app("a").Metadata}, protocol.ImageRef{Metadata: app("b").Metadata})
	for _, args := range [][]string{{"a"}, {"a", "-f", "harmony.yaml"}} {
		r := run(t, stage(protocol.KindImageRef), command.Streams{In: strings.NewReader(text)}, args)
		if r.code != 0 || strings.Count(r.out, `"made"`) != 1 {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := run(t, stage(protocol.KindImageRef), command.Streams{In: strings.NewReader(text)}, []string{"--all"}); r.code != 0 || strings.Count(r.out, `"made"`) != 2 {
		t.Errorf("--all: %+v", r)
	}
	if r := run(t, stage(protocol.KindImageRef), command.Streams{In: strings.NewReader("")}, []string{"--all"}); r.code != 2 || !strings.Contains(r.stderr, "no ImageRef yet") {
		t.Errorf("nothing to work with: %+v", r)
	}
}

// What the dispatcher sends is all there is; a number that is not one leads
// nowhere.
func TestEventsChannel(t *testing.T) {
	events, err := os.Create(filepath.Join(t.TempDir(), "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	number := strconv.Itoa(int(events.Fd()))
	for value, dispatched := range map[string]bool{number: true, number + "abc": false, "2": false, "": false, "100000": false} {
		// The stage owns the descriptor and closes it: it gets a copy.
		if dispatched {
			fd, err := syscall.Dup(int(events.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			value = strconv.Itoa(fd)
		}
		getenv := environment(t, map[string]string{"HARMONY_EVENTS_FD": value})
		r := run(t, stage(), command.Streams{In: strings.NewReader(""), Getenv: getenv}, nil)
		if want := map[bool]int{true: 2, false: 0}[dispatched]; r.code != want {
			t.Errorf("%q: %+v", value, r)
		}
	}
}

func TestVet(t *testing.T) {
	const host = "10.77.0.1"
	registry := func(insecure bool) *protocol.Provider {
		return &protocol.Provider{Adapter: "oci", URL: host + "/fleet", Insecure: insecure}
	}
	named := func(name string, p *protocol.Provider) protocol.Topology {
		return protocol.Topology{Metadata: protocol.Metadata{Name: name}, OCIRegistry: p}
	}
	secret := map[string]string{"HARMONY_REGISTRY": host + "/fleet", "HARMONY_REGISTRY_PASSWORD": "x"}
	for _, test := range []struct {
		name     string
		args     []string
		env      map[string]string
		here     *protocol.Provider
		topology protocol.Topology
		more     protocol.Spec
		refused  string
	}{
		{name: "another topology", args: []string{"--topology", "here"}, topology: named("there", nil), refused: `topology "there", but --topology names "here"`},
		{name: "not named", topology: named("there", nil)},
		{name: "the same", args: []string{"--topology", "here"}, here: registry(true), topology: named("here", registry(true))},
		{name: "the same name only", args: []string{"--topology", "here"}, here: registry(false), topology: named("here", registry(true)), refused: "differs from the one configured here"},
		{name: "what the stage does not use", args: []string{"--topology", "here"}, topology: protocol.Topology{Metadata: protocol.Metadata{Name: "here"}, HelmRegistry: registry(false)}},
		{name: "plain http", env: secret, topology: named("there", registry(true)), refused: "plain http to " + host},
		{name: "plain http as here", env: secret, here: registry(true), topology: named("there", registry(true))},
		{name: "plain http without a password", env: map[string]string{"HARMONY_REGISTRY": host}, topology: named("there", registry(true))},
		{name: "plain http elsewhere", env: map[string]string{"HARMONY_REGISTRY": "r.example.com", "HARMONY_REGISTRY_USERNAME": "x"}, topology: named("there", registry(true))},
		{name: "plain http on the loopback", env: map[string]string{"HARMONY_REGISTRY": "localhost:5001", "HARMONY_REGISTRY_USERNAME": "x"},
			topology: named("there", &protocol.Provider{Adapter: "oci", URL: "localhost:5001/fleet", Insecure: true})},
		{name: "an image", env: secret, topology: named("there", nil), more: protocol.ImageRef{Metadata: app("a").Metadata, Registry: host, Insecure: true}, refused: "plain http"},
		{name: "a chart", env: secret, topology: named("there", nil), more: protocol.ChartRef{Metadata: app("a").Metadata, URL: "oci://" + host + "/charts/a", Insecure: true}, refused: "plain http"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := stream(t, test.topology, app("a"))
			if test.more != nil {
				text += stream(t, test.more)
			}
			s := stage()
			s.Awaits = []protocol.Kind{protocol.KindDeployResult} // the work begins at the end
			r := run(t, s, command.Streams{In: strings.NewReader(text), Getenv: environment(t, test.env), Project: project{named("", test.here)}}, test.args)
			if test.refused == "" && r.code != 0 || test.refused != "" && (r.code != 2 || !strings.Contains(r.stderr, test.refused) || strings.Contains(r.out, `"made"`)) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A plugin without a reader of its own asks the harmony on PATH.
func TestProjectOfTheInstalledHarmony(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"$@\" >" + dir + "/asked\ncase $2$3 in *nobody*) printf 'error: no app\\nhint: see there\\n' >&2; exit 2 ;; esac\ncat <<'END'\n" +
		stream(t, protocol.Topology{Metadata: protocol.Metadata{Name: "theirs"}}, app("shop")) + "END\n"
	if err := os.WriteFile(filepath.Join(dir, "harmony"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ask := func(args ...string) result {
		var out, stderr bytes.Buffer
		code := command.Main(t.Context(), stage(), command.Streams{Out: &out, Err: &stderr, Getenv: environment(t, nil)}, args)
		return result{code, out.String(), stderr.String()}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	r := ask("shop", "--target", "staging", "--version=1.0.0")
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if want := "plan --output=documents shop --version=1.0.0 --target=staging\n"; r.code != 0 || !strings.Contains(r.out, `"made"`) || string(asked) != want || err != nil {
		t.Errorf("%+v, asked %q, %v", r, asked, err)
	}
	if r := ask("nobody"); r.code != 2 || !strings.Contains(r.stderr, "no app") || !strings.Contains(r.stderr, "see there") {
		t.Errorf("%+v", r)
	}
	t.Setenv("PATH", t.TempDir())
	if r := ask("shop"); r.code != 3 || !strings.Contains(r.stderr, "install harmony") {
		t.Errorf("%+v", r)
	}
}
