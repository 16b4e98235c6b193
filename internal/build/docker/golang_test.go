package docker

import (
	"runtime"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// goApp is a buildable with everything that it can say of the image.
func goApp(t *testing.T) protocol.AppSpec {
	t.Helper()
	app := project(t, "", map[string]string{
		"go.mod": "module example.com/demo\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() { print(\"hello\") }\n", "ui/index.html": "<h1>ui</h1>",
	})
	app.Image.Platforms = []string{"linux/" + runtime.GOARCH}
	app.Image.Dockerfile, app.Image.Buildable = nil, &protocol.Buildable{
		Type: "go", Files: map[string]string{"ui": "/home/app/ui"}, WorkingDir: "/home/app",
		Env: map[string]string{"GREETING": "hi"}, Entrypoint: "/home/app/greet", User: "1000:2000",
	}
	return app
}

// TestGoBuildable has every kind of daemon build it.
func TestGoBuildable(t *testing.T) {
	eachDaemon(t, func(t *testing.T, s server) {
		app := goApp(t)
		b := open(t, s, app, build.Flags{})
		made, err := b.BuildImage(t.Context(), app)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.seen.text())
		}
		files := b.files(t, made.ID)
		if files["home/app/ui/index.html"] != "<h1>ui</h1>" || !strings.HasPrefix(files["home/app/greet"], "\x7fELF") {
			t.Errorf("%d files, ui %q", len(files), files["home/app/ui/index.html"])
		}
		for _, want := range []string{`"WorkingDir":"/home/app"`, `"User":"1000:2000"`, `"Entrypoint":["/home/app/greet"]`, `"GREETING=hi"`, `:/home/app"`} {
			if !strings.Contains(files["json"], want) {
				t.Errorf("the configuration has no %s: %s", want, files["json"])
			}
		}
		if again, err := b.BuildImage(t.Context(), app); err != nil || !again.Unchanged || again.ID != made.ID {
			t.Errorf("again: %+v, %v", again, err)
		}
	})
}

// TestGoSBOM is refused before anything is compiled.
func TestGoSBOM(t *testing.T) {
	app := goApp(t)
	app.Image.Buildable.SBOM = true
	b, err := New(nil)(t.Context(), capability.Environment{Progress: func(protocol.Event) {}, Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.BuildImage(t.Context(), app)
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "image.buildable.sbom") || !strings.Contains(protocol.HintOf(err), "daemonless") {
		t.Errorf("status %d, %v, hint %q", protocol.ExitCode(err), err, protocol.HintOf(err))
	}
}
