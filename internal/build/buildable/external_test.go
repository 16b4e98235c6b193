package buildable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// answering is an executable that copies the folder text into the context, and
// tells on which file it was run how often.
const answering = `#!/bin/sh
set -e
echo run >> runs.log
cp text/* "$1/"
printf 'FROM scratch\nCOPY . /\n' > "$1/Dockerfile"
echo '{"apiVersion":"harmony.nationtech.io/v1","kind":"BuildContext","metadata":{"name":"demo"},"spec":{"inputs":["text"],"args":{"A":"b"},"target":""}}'
`

// externalOptions are those of a type whose executable is a script.
func externalOptions(t *testing.T, script string) Options {
	t.Helper()
	o := optionsOf(t, protocol.Buildable{Type: "copy", Settings: map[string]any{"a": 1}}, map[string]string{"text/one": "1", "text/two": "2"})
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "harmony-buildable-copy"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	o.Finder.Path = bin
	return o
}

// runs is how often the executable was run.
func runs(t *testing.T, o Options) int {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(o.App.ProjectRoot, "runs.log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(log), "run\n")
}

func TestExternal(t *testing.T) {
	o := externalOptions(t, answering)
	s := openSource(t, o)
	c, items, err := s.Inputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Text) != "FROM scratch\nCOPY . /\n" || c.Args["A"] != "b" || c.Name != "harmony-buildable-copy: Dockerfile" {
		t.Errorf("context %+v", c)
	}
	if len(items) != 3 {
		t.Errorf("items %v, want the three files of the context", items)
	}
	if c, err = s.Context(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if tree := treeOf(t, c.Dir); !strings.HasSuffix(tree["one"], " 1") || !strings.HasSuffix(tree["two"], " 2") {
		t.Errorf("context %v", tree)
	}
	if n := runs(t, o); n != 1 {
		t.Errorf("run %d times for input and context, want once", n)
	}
	if err := s.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(o.Memory, ".context-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestExternalIsRemembered proves that the executable runs again when, and only
// when, something changed that it was told of or told.
func TestExternalIsRemembered(t *testing.T) {
	for name, test := range map[string]struct {
		change func(t *testing.T, o *Options)
		again  bool
		same   bool
	}{
		"nothing":          {func(*testing.T, *Options) {}, false, true},
		"another file":     {func(t *testing.T, o *Options) { write(t, o.App.ProjectRoot, map[string]string{"notes": "x"}) }, false, true},
		"an input":         {func(t *testing.T, o *Options) { write(t, o.App.ProjectRoot, map[string]string{"text/one": "I"}) }, true, false},
		"a new input":      {func(t *testing.T, o *Options) { write(t, o.App.ProjectRoot, map[string]string{"text/three": "3"}) }, true, false},
		"a setting":        {func(_ *testing.T, o *Options) { o.App.Image.Buildable.Settings = map[string]any{"a": 2} }, true, true},
		"another version":  {func(_ *testing.T, o *Options) { o.App.Version = "2.0.0" }, true, true},
		"another platform": {func(_ *testing.T, o *Options) { o.Platforms[0].Variant = "v3" }, true, true},
		"the executable": {func(t *testing.T, o *Options) {
			path := filepath.Join(o.Finder.Path, "harmony-buildable-copy")
			if err := os.WriteFile(path, []byte(answering+"# another\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := externalOptions(t, answering)
			settle()
			before := digestOf(t, t.Context(), openSource(t, o))
			test.change(t, &o)
			settle()
			after := digestOf(t, t.Context(), openSource(t, o))
			if again := runs(t, o) == 2; again != test.again {
				t.Errorf("run %d times, want it again: %t", runs(t, o), test.again)
			}
			if (before == after) != test.same {
				t.Errorf("same digest: %t, want %t", before == after, test.same)
			}
		})
	}
}

// TestExternalContextOfMemory proves that a context is written although the
// input was remembered, and that it has to be the same one.
func TestExternalContextOfMemory(t *testing.T) {
	o := externalOptions(t, answering)
	settle()
	digestOf(t, t.Context(), openSource(t, o))
	c := contextOf(t, o)
	if _, ok := treeOf(t, c.Dir)["one"]; !ok || runs(t, o) != 2 {
		t.Errorf("no context, or run %d times", runs(t, o))
	}

	random := strings.Replace(answering, "set -e", "set -e\ndate +%N > \"$1/now\"", 1)
	o = externalOptions(t, random)
	settle()
	digestOf(t, t.Context(), openSource(t, o))
	s := openSource(t, o)
	digestOf(t, t.Context(), s)
	if _, err := s.Context(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "wrote a different context for the same inputs") {
		t.Errorf("error %v", err)
	}
}

func TestExternalFailures(t *testing.T) {
	answer := func(spec string) string {
		return fmt.Sprintf("echo '{\"apiVersion\":\"harmony.nationtech.io/v1\",\"kind\":\"BuildContext\",\"metadata\":{\"name\":\"demo\"},\"spec\":%s}'\n", spec)
	}
	const file = "printf 'FROM scratch\\nCOPY . /\\n' > \"$1/Dockerfile\"\n"
	for name, test := range map[string]struct {
		script string
		code   int
		want   string
	}{
		"garbage":                 {"echo hello\n", 1, "harmony-buildable-copy did not answer with one BuildContext document: not a JSON object"},
		"another kind":            {`echo '{"apiVersion":"harmony.nationtech.io/v1","kind":"ImageRef","metadata":{"name":"demo"},"spec":{}}'` + "\n", 1, "it is kind ImageRef of harmony.nationtech.io/v1"},
		"two documents":           {file + answer("{}") + answer("{}"), 1, "did not answer with one BuildContext document"},
		"another app":             {file + strings.ReplaceAll(answer("{}"), "demo", "other"), 1, `it is about "other", not "demo"`},
		"a later protocol":        {file + strings.ReplaceAll(answer("{}"), "io/v1", "io/v9"), 1, "it is kind BuildContext of harmony.nationtech.io/v9"},
		"no answer":               {"exit 0\n", 1, "exited without an answer"},
		"fails":                   {"echo out; echo why >&2; exit 7\n", 1, "harmony-buildable-copy: exit status 7\nwhy"},
		"refuses the settings":    {"echo 'settings.a: want text' >&2; exit 2\n", 2, "settings.a: want text"},
		"terminal control":        {"printf 'a\\033[31mb\\n' >&2; exit 1\n", 1, "a[31mb"},
		"failure document":        {`echo '{"apiVersion":"harmony.nationtech.io/v1","kind":"Failure","metadata":{"name":"demo"},"spec":{"stage":"build","code":4,"message":"mirror is down"}}'; exit 1` + "\n", 4, "harmony-buildable-copy: mirror is down"},
		"too much":                {"head -c 3000000 /dev/zero | tr '\\0' x\n", 1, "wrote more than the 1048576 bytes to stdout"},
		"no Dockerfile":           {answer("{}"), 2, `the dockerfile "Dockerfile" of its answer does not exist`},
		"no context":              {file + answer(`{"context":"nope","dockerfile":"Dockerfile"}`), 2, `the context "nope" of its answer does not exist`},
		"context elsewhere":       {file + answer(`{"context":"/etc"}`), 2, `the context "/etc" of its answer is not in the folder that it was given`},
		"context above":           {file + answer(`{"context":"a/../.."}`), 2, `is not in the folder that it was given`},
		"Dockerfile elsewhere":    {file + answer(`{"dockerfile":"../Dockerfile"}`), 2, `the dockerfile "../Dockerfile" of its answer is not in the folder`},
		"context by a link":       {"ln -s /etc \"$1/etc\"\n" + file + answer(`{"context":"etc","dockerfile":"Dockerfile"}`), 2, `the context "etc" of its answer leads out of the folder`},
		"Dockerfile by a link":    {"ln -s /etc/passwd \"$1/Dockerfile\"\n" + answer("{}"), 2, "leads out of the folder"},
		"a pipe in the context":   {file + "mkfifo \"$1/pipe\"\n" + answer("{}"), 1, "pipe"},
		"not a program":           {"", 1, "exec format error"},
		"hangs, and ignores TERM": {"trap '' TERM\nsleep 60 & wait; sleep 60\n", 1, "did not end within 300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			script := "#!/bin/sh\n" + test.script
			if test.script == "" {
				script = "\x00"
			}
			s := openSource(t, externalOptions(t, script))
			if strings.HasPrefix(name, "hangs") {
				s.(*external).program.deadline = 300 * time.Millisecond
			}
			start := time.Now()
			_, _, err := s.Inputs(t.Context())
			if err == nil || protocol.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("status %d, %v; want status %d and %q", protocol.ExitCode(err), err, test.code, test.want)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestExternalCancel proves that nothing of a cancelled executable stays.
func TestExternalCancel(t *testing.T) {
	o := externalOptions(t, "#!/bin/sh\nsleep 1000 &\necho $! > pid\nwait\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := openSource(t, o)
	go func() {
		_, _, err := s.Inputs(ctx)
		done <- err
	}()
	var pid int
	for pid == 0 {
		text, _ := os.ReadFile(filepath.Join(o.App.ProjectRoot, "pid"))
		fmt.Sscan(string(text), &pid)
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("status %d, %v", protocol.ExitCode(err), err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for syscall.Kill(pid, 0) == nil && !zombie(pid) {
		if time.Now().After(deadline) {
			t.Fatal("its child runs on")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// zombie reports whether a process has ended but is still listed.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func TestExternalIsNotFound(t *testing.T) {
	trusted, others := t.TempDir(), t.TempDir()
	for _, dir := range []string{trusted, others} {
		if err := os.WriteFile(filepath.Join(dir, "harmony-buildable-copy"), []byte(answering), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(others, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		kind, path string
		code       int
		want, hint string
	}{
		"nowhere":                    {"elm", trusted, 3, `demo: image.buildable: type "elm" is neither go, rust-leptos, static nor an executable harmony-buildable-elm on PATH`, "docs/buildables.md"},
		"misspelt":                   {"coyp", trusted, 3, "harmony-buildable-coyp", "did you mean copy?"},
		"built in, misspelt":         {"statik", trusted, 3, "harmony-buildable-statik", "did you mean static?"},
		"others could have written":  {"copy", others, 3, "is refused: " + others + " is writable by others", "chmod "},
		"a path":                     {"../copy", trusted, 3, "is neither", ""},
		"not in the current folder":  {"copy", ".", 3, "is neither", ""},
		"no name of a plugin at all": {"Copy That", trusted, 3, `type "Copy That" is neither`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := optionsOf(t, protocol.Buildable{Type: test.kind}, nil)
			o.Finder = discovery.Finder{Path: test.path, UID: os.Getuid()}
			t.Chdir(trusted)
			_, err := Open(o)
			if err == nil || protocol.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("status %d, %v; want %q", protocol.ExitCode(err), err, test.want)
			}
			if !strings.Contains(protocol.HintOf(err), test.hint) {
				t.Errorf("hint %q, want %q", protocol.HintOf(err), test.hint)
			}
		})
	}
}

// example is the buildable of examples/buildable-zipapp on its own project.
func example(t *testing.T, settings map[string]any) Options {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	root, err := filepath.Abs("../../../examples/buildable-zipapp")
	if err != nil {
		t.Fatal(err)
	}
	o := optionsOf(t, protocol.Buildable{Type: "zipapp", Folder: "greeter", Settings: settings}, nil)
	o.App.ProjectRoot = t.TempDir()
	if err := os.CopyFS(filepath.Join(o.App.ProjectRoot, "greeter"), os.DirFS(filepath.Join(root, "greeter"))); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir() // a checkout may be writable by its group
	program, err := os.ReadFile(filepath.Join(root, "bin", "harmony-buildable-zipapp"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "harmony-buildable-zipapp"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	o.Finder.Path = bin
	return o
}

// TestExample runs the program that the example in Python puts into its image.
func TestExample(t *testing.T) {
	o := example(t, map[string]any{"entry": "greeter.server:main", "port": 18080, "image": "registry.example.com/python:3"})
	c := contextOf(t, o)
	if want := "FROM registry.example.com/python:3\n"; !strings.HasPrefix(string(c.Text), want) {
		t.Errorf("Dockerfile %s", c.Text)
	}
	if one, other := treeOf(t, c.Dir), treeOf(t, contextOf(t, o).Dir); one["app.pyz"] != other["app.pyz"] {
		t.Error("app.pyz is another one each time")
	}
	port := freePort(t)
	cmd := exec.CommandContext(t.Context(), "python3", filepath.Join(c.Dir, "app.pyz"))
	cmd.Env = append(os.Environ(), "PORT="+port)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "http://127.0.0.1:"+port+"/healthz")
	answer, err := http.Get("http://127.0.0.1:" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "hello from a zipapp\n" {
		t.Errorf("%q, %v", body, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestExampleRefusals(t *testing.T) {
	for want, settings := range map[string]map[string]any{
		"settings.entri: there is no such setting": {"entri": "a:b"},
		"settings.entry: want module:function":     {},
		"settings.port: want a number":             {"entry": "a:b", "port": "x"},
	} {
		_, _, err := openSource(t, example(t, settings)).Inputs(t.Context())
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("status %d, %v; want %q", protocol.ExitCode(err), err, want)
		}
	}
}
