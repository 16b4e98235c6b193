package buildable

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

var update = flag.Bool("update", false, "write the golden files")

// leptosApp is an application in one package.
var leptosApp = map[string]string{
	"Cargo.toml": `[package]
name = "shop"
version = "0.1.0"
edition = "2021"

[lib]
crate-type = ["cdylib", "rlib"]

[features]
hydrate = []
ssr = []

[package.metadata.leptos]
output-name = "shop"
site-root = "target/site"
bin-features = ["ssr"]
lib-features = ["hydrate"]
`,
	"Cargo.lock":              "version = 4\n\n[[package]]\nname = \"shop\"\nversion = \"0.1.0\"\n",
	"src/main.rs":             "fn main() { println!(\"{}\", shop::name()); }\n",
	"src/lib.rs":              "pub fn name() -> &'static str { \"shop\" }\n",
	"build.rs":                "fn main() { println!(\"cargo:rerun-if-changed=build.rs\"); }\n",
	"style/main.scss":         "body { color: red }\n",
	"target/debug/shop":       "not a source",
	"node_modules/x/index.js": "not a source",
	".gitignore":              "target\n",
	".cargo/config.toml":      "[net]\nretry = 3\n",
	".dockerignore":           "notes\n",
	"notes/todo.md":           "not a source",
}

// leptosWorkspace has two projects of several packages.
var leptosWorkspace = map[string]string{
	"web/Cargo.toml": `[workspace]
members = ["app", "client", "server"]
resolver = "2"

[[workspace.metadata.leptos]]
name = "store"
bin-package = "server"
lib-package = "client"
site-pkg-dir = "assets"
features = ["shared"]

[[workspace.metadata.leptos]]
name = "admin"
bin-package = "server"
bin-target = "admin"
lib-package = "client"
`,
	"web/app/Cargo.toml":             "[package]\nname = \"app\"\nversion = \"0.1.0\"\n[lib]\npath = \"app.rs\"\n[features]\nshared = []\n",
	"web/app/app.rs":                 "pub fn name() {}\n",
	"web/client/Cargo.toml":          "[package]\nname = \"client\"\nversion = \"0.1.0\"\n",
	"web/client/src/lib.rs":          "",
	"web/server/Cargo.toml":          "[package]\nname = \"server\"\nversion = \"0.1.0\"\nbuild = \"tools/make.rs\"\n[[bin]]\nname = \"admin\"\npath = \"admin/run.rs\"\n",
	"web/server/src/main.rs":         "fn main() { app::name() }\n",
	"web/server/admin/run.rs":        "fn main() { app::name() }\n",
	"web/server/src/bin/one.rs":      "fn main() { app::name() }\n",
	"web/server/src/bin/two/main.rs": "fn main() { app::name() }\n",
	"web/server/src/bin/two/part.rs": "",
	"web/server/tools/make.rs":       "fn main() { panic!() }\n",
}

func leptosOptions(t *testing.T, files map[string]string, folder string, settings map[string]any) Options {
	t.Helper()
	return optionsOf(t, protocol.Buildable{Type: "rust-leptos", Folder: folder, Settings: settings}, files)
}

// TestLeptosGolden holds the Dockerfiles, and has BuildKit's parser read them.
func TestLeptosGolden(t *testing.T) {
	for name, test := range map[string]struct {
		files    map[string]string
		folder   string
		settings map[string]any
	}{
		"package":   {leptosApp, "", nil},
		"workspace": {leptosWorkspace, "web", map[string]any{"project": "store"}},
		"target":    {leptosWorkspace, "web", map[string]any{"project": "admin", "binFeatures": []any{"ssr", "app/ssr"}}},
		"settings": {leptosApp, "", map[string]any{
			"package": "shop", "libPackage": "shop-client", "bin": "shop-server",
			"features": []any{"postgres"}, "binFeatures": []any{"ssr", "tls"}, "libFeatures": []any{"hydrate"},
			"outputName": "store", "siteRoot": "out/site", "sitePkgDir": "static", "port": 8080,
			"env":       map[string]any{"RUST_LOG": "info", "GREETING": `say "hi" to \ $USER`},
			"rustImage": "registry.example.com/rust@sha256:" + strings.Repeat("a", 64), "runtimeImage": "debian:bookworm-slim", "cargoLeptos": "0.2.43",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSource(t, leptosOptions(t, test.files, test.folder, test.settings))
			c, _, err := s.Inputs(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dockerfile.Parse(c.Name, c.Text); err != nil {
				t.Error(err)
			}
			golden := filepath.Join("testdata", "leptos", name+".Dockerfile")
			if *update {
				if err := os.WriteFile(golden, c.Text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if string(c.Text) != string(want) {
				t.Errorf("the Dockerfile is not that of %s (go test -update writes it):\n%s", golden, c.Text)
			}
		})
	}
}

// TestLeptosContext proves what goes into the context: sources as they are, and
// beside them manifests with targets that do nothing.
func TestLeptosContext(t *testing.T) {
	const program, empty = "-rw-r--r-- fn main() {}\n", "-rw-r--r-- "
	for name, test := range map[string]struct {
		files  map[string]string
		folder string
		want   map[string]string
		absent []string
	}{
		"package": {leptosApp, "", map[string]string{
			"manifests/Cargo.toml": "-rw-r--r-- " + leptosApp["Cargo.toml"], "manifests/Cargo.lock": "-rw-r--r-- " + leptosApp["Cargo.lock"],
			"manifests/src/main.rs": program, "manifests/src/lib.rs": empty, "manifests/build.rs": program,
			"manifests/.cargo/config.toml": "-rw-r--r-- " + leptosApp[".cargo/config.toml"],
			"source/src/main.rs":           "-rw-r--r-- " + leptosApp["src/main.rs"], "source/style/main.scss": "-rw-r--r-- " + leptosApp["style/main.scss"],
		}, []string{"source/target/debug/shop", "source/node_modules/x/index.js", "source/notes/todo.md", "manifests/style/main.scss"}},
		"workspace": {leptosWorkspace, "web", map[string]string{
			"manifests/app/app.rs": empty, "manifests/client/src/lib.rs": empty, "manifests/server/src/main.rs": program, "manifests/server/admin/run.rs": program,
			"manifests/server/src/bin/one.rs": program, "manifests/server/src/bin/two/main.rs": program, "manifests/server/tools/make.rs": program,
			"source/server/tools/make.rs": "-rw-r--r-- fn main() { panic!() }\n",
		}, []string{"manifests/server/src/bin/two/part.rs", "manifests/app/src/lib.rs"}},
	} {
		t.Run(name, func(t *testing.T) {
			settings := map[string]any{}
			if test.folder != "" {
				settings["project"] = "store"
			}
			tree := treeOf(t, contextOf(t, leptosOptions(t, test.files, test.folder, settings)).Dir)
			for file, want := range test.want {
				if tree[file] != want {
					t.Errorf("%s: %q, want %q", file, tree[file], want)
				}
			}
			for _, file := range test.absent {
				if content, ok := tree[file]; ok {
					t.Errorf("%s is there: %q", file, content)
				}
			}
		})
	}
}

// TestLeptosManifestsStay proves that an edit of a source leaves the folder
// alone of which the layer with the dependencies is made.
func TestLeptosManifestsStay(t *testing.T) {
	o := leptosOptions(t, leptosApp, "", nil)
	before := contextOf(t, o)
	write(t, o.App.ProjectRoot, map[string]string{"src/main.rs": "fn main() { println!(\"other\"); }\n", "src/more.rs": ""})
	after := contextOf(t, o)
	one, other := treeOf(t, filepath.Join(before.Dir, manifestFolder)), treeOf(t, filepath.Join(after.Dir, manifestFolder))
	if fmt.Sprint(one) != fmt.Sprint(other) {
		t.Errorf("manifests %v, then %v", one, other)
	}
	if fmt.Sprint(treeOf(t, before.Dir)) == fmt.Sprint(treeOf(t, after.Dir)) {
		t.Error("the edit is not in the context")
	}
}

func TestLeptosInput(t *testing.T) {
	before := digestOf(t, t.Context(), openSource(t, leptosOptions(t, leptosApp, "", nil)))
	for name, test := range map[string]struct {
		change func(t *testing.T, o Options)
		same   bool
	}{
		"nothing": {func(*testing.T, Options) {}, true},
		"a build": {func(t *testing.T, o Options) {
			write(t, o.App.ProjectRoot, map[string]string{"target/release/shop": "x"})
		}, true},
		"ignored":   {func(t *testing.T, o Options) { write(t, o.App.ProjectRoot, map[string]string{"notes/other.md": "x"}) }, true},
		"a source":  {func(t *testing.T, o Options) { write(t, o.App.ProjectRoot, map[string]string{"src/lib.rs": "// x"}) }, false},
		"a style":   {func(t *testing.T, o Options) { write(t, o.App.ProjectRoot, map[string]string{"style/main.scss": ""}) }, false},
		"a setting": {func(_ *testing.T, o Options) { o.App.Image.Buildable.Settings = map[string]any{"port": 3001} }, false},
		"executable": {func(t *testing.T, o Options) {
			if err := os.Chmod(filepath.Join(o.App.ProjectRoot, "build.rs"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := leptosOptions(t, leptosApp, "", nil)
			test.change(t, o)
			if after := digestOf(t, t.Context(), openSource(t, o)); (after == before) != test.same {
				t.Errorf("same digest: %t, want %t", after == before, test.same)
			}
		})
	}
}

func TestLeptosRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		files    map[string]string
		settings map[string]any
		want     string
	}{
		"no folder":        {nil, nil, "image.buildable.folder: web is not a folder in the project"},
		"no manifest":      {map[string]string{"web/x": ""}, nil, "image.buildable.folder: web: there is no Cargo.toml"},
		"no TOML":          {map[string]string{"web/Cargo.toml": "[package"}, nil, "read Cargo.toml: "},
		"several projects": {leptosWorkspace, nil, "several projects in Cargo.toml; set project to one of store, admin"},
		"unknown project":  {leptosWorkspace, map[string]any{"project": "shop"}, `project: Cargo.toml has no "shop", but store, admin`},
		"no package":       {map[string]string{"web/Cargo.toml": "[workspace]\n"}, nil, "package is required"},
		"hostile manifest": {map[string]string{"web/Cargo.toml": "[package]\nname = \"a\"\n[package.metadata.leptos]\nsite-root = \"x; curl evil\"\n"}, nil, `settings.siteRoot: "x; curl evil" cannot be used here`},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := openSource(t, leptosOptions(t, test.files, "web", test.settings)).Inputs(t.Context())
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(fmt.Sprint(err), test.want) {
				t.Errorf("status %d, %v; want %q", protocol.ExitCode(err), err, test.want)
			}
		})
	}
	t.Run("a link out of the folder", func(t *testing.T) {
		o := leptosOptions(t, leptosApp, "", nil)
		if err := os.Symlink("../../etc", filepath.Join(o.App.ProjectRoot, "etc")); err != nil {
			t.Fatal(err)
		}
		s := openSource(t, o)
		digestOf(t, t.Context(), s)
		if _, err := s.Context(t.Context(), t.TempDir()); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "leads out of it") {
			t.Errorf("status %d, %v", protocol.ExitCode(err), err)
		}
	})
}
