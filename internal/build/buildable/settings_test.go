package buildable

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestSettingsAreStrict(t *testing.T) {
	type settings = map[string]any
	for name, test := range map[string]struct {
		source protocol.Buildable
		want   string
		hint   string
	}{
		"field of another type":    {protocol.Buildable{Type: "go", Folder: "public"}, "demo: image.buildable.folder: the type go has no such field", "type, main, ldflags, tags"},
		"go has no settings":       {protocol.Buildable{Type: "go", Settings: settings{"port": 1}}, "image.buildable.settings: the type go has no such field", ""},
		"static has no main":       {protocol.Buildable{Type: "static", Folder: "public", Main: "./cmd"}, "image.buildable.main: the type static has no such field", "type, folder, settings"},
		"misspelt setting":         {protocol.Buildable{Type: "static", Folder: "public", Settings: settings{"prot": 8080}}, "image.buildable.settings.prot: the type static has no such setting", "did you mean port?"},
		"unknown setting":          {protocol.Buildable{Type: "static", Folder: "public", Settings: settings{"workers": 8}}, "image.buildable.settings.workers", "it has port, spa, notFound"},
		"wrong type":               {protocol.Buildable{Type: "static", Folder: "public", Settings: settings{"port": "http"}}, "image.buildable.settings.port: want int, have a string", ""},
		"letters are exact":        {protocol.Buildable{Type: "static", Folder: "public", Settings: settings{"Port": 8081}}, "image.buildable.settings.Port", "did you mean port?"},
		"folder is required":       {protocol.Buildable{Type: "static"}, "image.buildable.folder: is required", ""},
		"port of root":             {protocol.Buildable{Type: "static", Folder: "public", Settings: settings{"port": 80}}, "image.buildable.settings.port: 80 is not in 1024 to 65535", ""},
		"image of two lines":       {protocol.Buildable{Type: "static", Folder: "public", Settings: settings{"goImage": "a\nRUN b"}}, "image.buildable.settings.goImage", ""},
		"page out of the folder":   {protocol.Buildable{Type: "static", Folder: "public", Settings: settings{"notFound": "../x"}}, `"../x" is not a path in the folder`, ""},
		"leptos misspelt":          {protocol.Buildable{Type: "rust-leptos", Settings: settings{"feature": []any{"a"}}}, "image.buildable.settings.feature: the type rust-leptos has no such setting", "did you mean features?"},
		"leptos, a command inside": {protocol.Buildable{Type: "rust-leptos", Settings: settings{"package": "a; rm -rf /"}}, `image.buildable.settings.package: "a; rm -rf /" cannot be used here`, ""},
		"leptos, a flag":           {protocol.Buildable{Type: "rust-leptos", Settings: settings{"bin": "-x"}}, "image.buildable.settings.bin", ""},
		"leptos, feature":          {protocol.Buildable{Type: "rust-leptos", Settings: settings{"features": []any{"a b"}}}, "image.buildable.settings.features", ""},
		"leptos, site root":        {protocol.Buildable{Type: "rust-leptos", Settings: settings{"siteRoot": "a/../../b"}}, "image.buildable.settings.siteRoot: the path", ""},
		"leptos, variable":         {protocol.Buildable{Type: "rust-leptos", Settings: settings{"env": settings{"A B": "c"}}}, `image.buildable.settings.env: "A B" is not the name of a variable`, ""},
		"leptos, lines in a value": {protocol.Buildable{Type: "rust-leptos", Settings: settings{"env": settings{"A": "b\nRUN c"}}}, "image.buildable.settings.env.A: has more than one line", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(optionsOf(t, test.source, nil))
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), test.want) {
				t.Errorf("status %d, %v; want %q", protocol.ExitCode(err), err, test.want)
			}
			if !strings.Contains(protocol.HintOf(err), test.hint) {
				t.Errorf("hint %q, want %q", protocol.HintOf(err), test.hint)
			}
		})
	}
}
