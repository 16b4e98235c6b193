package build_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// goldenInput is the input digest of the demo app on any machine. When it
// changes without reason, no image that was ever published is found again.
const goldenInput = "sha256:32948e2733dc88111d719cf0243ec576c63abd5d7241a49882f11f9bc333b4ef"

func TestInputIsTheSameEverywhere(t *testing.T) {
	if got := plan(t, demo(t)); got != goldenInput {
		t.Errorf("input %s, want %s", got, goldenInput)
	}
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	app := demo(t)
	when := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	err := filepath.WalkDir(app.ProjectRoot, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Type() == os.ModeSymlink {
			return err
		}
		mode := os.FileMode(0o755) // as a checkout gives it
		if !d.IsDir() && d.Name() != "run" {
			mode = 0o644
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		return os.Chtimes(path, when, when)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := plan(t, app); got != goldenInput {
		t.Errorf("with other times: input %s, want %s", got, goldenInput)
	}
}

func TestWhatMakesAnotherInput(t *testing.T) {
	file := func(name, content string) func(*testing.T, *protocol.AppSpec) {
		return func(t *testing.T, app *protocol.AppSpec) {
			path := filepath.Join(app.ProjectRoot, strings.TrimSuffix(name, "!"))
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			write(t, app.ProjectRoot, map[string]string{name: content})
		}
	}
	spec := func(change func(*protocol.Dockerfile)) func(*testing.T, *protocol.AppSpec) {
		return func(_ *testing.T, app *protocol.AppSpec) { change(app.Image.Dockerfile) }
	}
	tests := map[string]struct {
		change func(*testing.T, *protocol.AppSpec)
		same   bool
	}{
		"nothing":              {func(*testing.T, *protocol.AppSpec) {}, true},
		"an ignored file":      {file("x.log", "other"), true},
		"another ignored file": {file("d/y.log/z", "new"), false}, // *.log is of the root only
		"the content":          {file("a", "B"), false},
		"a file":               {file("new", ""), false},
		"a file's name": {func(t *testing.T, app *protocol.AppSpec) {
			if err := os.Rename(filepath.Join(app.ProjectRoot, "a"), filepath.Join(app.ProjectRoot, "b")); err != nil {
				t.Fatal(err)
			}
		}, false},
		"a file less": {func(t *testing.T, app *protocol.AppSpec) {
			if err := os.Remove(filepath.Join(app.ProjectRoot, "a")); err != nil {
				t.Fatal(err)
			}
		}, false},
		"the executable bit": {file("a!", "A"), false},
		"another mode": {func(t *testing.T, app *protocol.AppSpec) {
			if err := os.Chmod(filepath.Join(app.ProjectRoot, "a"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
		"a link":           {file("d/link", "-> ../a"), false},
		"a link to a file": {file("d/link", "R"), false},
		"an empty folder": {func(t *testing.T, app *protocol.AppSpec) {
			if err := os.Mkdir(filepath.Join(app.ProjectRoot, "empty"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, false},
		"the ignore file":                {file(".dockerignore", "*.log\n# more\n"), false},
		"a Dockerfile's own ignore file": {file("Dockerfile.dockerignore", "d\n*.log\nDockerfile.dockerignore"), false},
		"the Dockerfile":                 {file("Dockerfile", "FROM scratch\nCOPY a /\n"), false},
		"an argument":                    {spec(func(d *protocol.Dockerfile) { d.Args = map[string]string{"WHO": "me"} }), false},
		"another argument":               {spec(func(d *protocol.Dockerfile) { d.Args = map[string]string{"WHO": "you"} }), false},
		"a secret":                       {spec(func(d *protocol.Dockerfile) { d.Secrets = map[string]string{"token": "env:TOKEN"} }), false},
		"another secret":                 {spec(func(d *protocol.Dockerfile) { d.Secrets = map[string]string{"other": "env:TOKEN"} }), false},
		"an ssh agent":                   {spec(func(d *protocol.Dockerfile) { d.SSH = map[string]string{"default": "file:agent"} }), false},
		"a context":                      {spec(func(d *protocol.Dockerfile) { d.Contexts = map[string]string{"more": "d"} }), false},
		"another context":                {spec(func(d *protocol.Dockerfile) { d.Contexts = map[string]string{"less": "d"} }), false},
		"the platform":                   {func(_ *testing.T, app *protocol.AppSpec) { app.Image.Platforms = []string{"linux/arm64"} }, false},
		"more platforms": {func(_ *testing.T, app *protocol.AppSpec) {
			app.Image.Platforms = []string{"linux/arm64", "linux/amd64"}
		}, false},
		"the time":               {func(t *testing.T, _ *protocol.AppSpec) { t.Setenv("SOURCE_DATE_EPOCH", "7") }, false},
		"the version of the app": {func(_ *testing.T, app *protocol.AppSpec) { app.Version = "2.0.0" }, true},
	}
	seen := map[string]string{goldenInput: "nothing"}
	for _, name := range inOrder(tests) {
		t.Run(name, func(t *testing.T) {
			app := demo(t)
			tests[name].change(t, &app)
			got := plan(t, app)
			if same := got == goldenInput; same != tests[name].same {
				t.Errorf("input is the same: %t", same)
			}
			if other, ok := seen[got]; ok && !tests[name].same {
				t.Errorf("the input is that of %s", other)
			}
			seen[got] = name
		})
	}
	t.Run("an option of the backend", func(t *testing.T) {
		got := planOn(t, newStage(t), demo(t), &builds{options: map[string]string{"sbom": "true"}})
		if seen[got] != "" {
			t.Errorf("the input is that of %s", seen[got])
		}
	})
}

// TestSecretsStayWhereTheyAre builds with secrets whose values change: they are
// neither in the input nor in the cache nor told.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	app := demo(t)
	secret := filepath.Join(t.TempDir(), "token")
	t.Setenv("HARMONY_BUILD_SECRETS", "KEY_OF_TEST,"+secret)
	app.Image.Dockerfile.Secrets = map[string]string{"token": "file:" + secret, "key": "env:KEY_OF_TEST"}
	app.Image.Dockerfile.Args = map[string]string{"WHO": "argument-value"}
	s, b := newStage(t), &builds{}
	s.flags.Explain = true
	var inputs []string
	for _, value := range []string{"s3cr3t-one", "s3cr3t-two"} {
		t.Setenv("KEY_OF_TEST", value)
		write(t, filepath.Dir(secret), map[string]string{"token": value})
		ref, err := s.build(t.Context(), b.adapter(&s.flags), app)
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, ref.InputDigest)
		if text := strings.Join(s.said("explain"), " "); text == "" || strings.Contains(text, "s3cr3t") {
			t.Errorf("explained %q", text)
		}
	}
	if inputs[0] != inputs[1] || inputs[0] == "" {
		t.Errorf("inputs %q", inputs)
	}
	got := b.requests[0].Context.Secrets
	if len(got) != 2 || got[0].Env != "KEY_OF_TEST" || got[1].File != secret {
		t.Errorf("the backend got %+v", got)
	}
	for path, content := range filesBelow(t, s.env.Cache) {
		if strings.Contains(content, "s3cr3t") || strings.Contains(content, "argument-value") {
			t.Errorf("a value is in %s", path)
		}
	}
}
