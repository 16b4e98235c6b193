package appkit_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/appkit"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The test's own program is the app plugin harmony-shop, where it has that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "harmony-shop" {
		os.Exit(shop().Main(context.Background(), appkit.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// checkout is a folder with a go.mod, and one below it.
func checkout(t *testing.T, module string) (root, below string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	below = filepath.Join(root, "cmd", "shop")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("// comment\nmodule "+module+"\n\ngo 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return root, below
}

func TestWhereTheSourcesAre(t *testing.T) {
	built, _ := checkout(t, "example.com/shop")
	here, below := checkout(t, "example.com/shop")
	named, _ := checkout(t, "example.com/other")
	const module = "example.com/shop"
	for _, test := range []struct {
		name, module, root, env, in string
		want                        string // or a part of the error, of which
		code                        int    // is the status
	}{
		{"nothing said", "", "", "", named, named, 0},
		{"where it was built", "", built, "", named, built, 0},
		{"elsewhere than in a checkout", module, built, "", named, built, 0},
		{"in a checkout", module, built, "", here, here, 0},
		{"below a checkout", module, built, "", below, here, 0},
		{"named", module, built, named, here, named, 0},
		{"named, relative", module, built, "cmd/shop", here, below, 0},
		{"named, missing", module, built, "/nonexistent", here, "HARMONY_SHOP_ROOT: /nonexistent", protocol.ExitInvalid},
		{"built on another machine", module, "/nonexistent", "", named, "built from: /nonexistent", protocol.ExitInvalid},
		{"built without a path", module, "", "", named, "does not know where", protocol.ExitInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(test.in)
			t.Setenv("HARMONY_SHOP_ROOT", test.env)
			p := shop()
			p.Module, p.Root, p.Apps[0].Spec.ProjectRoot = test.module, test.root, "web"
			code, documents := run(t, p, "", "apps")
			if code != test.code || len(documents) != 1 {
				t.Fatalf("status %d, want %d: %v", code, test.code, documents)
			}
			if code != 0 {
				failure, err := protocol.Decode[protocol.Failure](documents[0])
				if err != nil || !strings.Contains(failure.Message, test.want) {
					t.Errorf("answers %+v, %v; want %q", failure, err, test.want)
				}
				return
			}
			app, err := protocol.Decode[protocol.AppSpec](documents[0])
			if err != nil || app.ProjectRoot != filepath.Join(test.want, "web") {
				t.Errorf("root %s, %v; want web in %s", app.ProjectRoot, err, test.want)
			}
		})
	}
}

func TestSourceFolder(t *testing.T) {
	folder := appkit.SourceFolder("..")
	if folder == "" {
		t.Skip("built with -trimpath")
	}
	if _, err := os.Stat(filepath.Join(folder, "appkit", "root_test.go")); err != nil {
		t.Error(err)
	}
}

// What Chart makes needs no chart in the AppSpec.
func TestChartByThisPlugin(t *testing.T) {
	p := shop()
	p.Apps[0].Spec.Chart = protocol.ChartSource{}
	p.Topologies = []protocol.Topology{{Metadata: protocol.Metadata{Name: "lab"}}}
	code, documents := run(t, p, "", "apps")
	if code != 0 || len(documents) != 2 || documents[0].Kind != protocol.KindTopology {
		t.Fatalf("status %d: %v", code, documents)
	}
	app, err := protocol.Decode[protocol.AppSpec](documents[1])
	if err != nil || app.Chart.Builder == nil || app.Chart.Builder.Plugin != "harmony-shop" {
		t.Errorf("chart %+v, %v", app.Chart, err)
	}
	p.Topologies[0].Name = "No"
	if code, _ := run(t, p, "", "apps"); code != protocol.ExitInvalid {
		t.Errorf("status %d for a topology without a name", code)
	}
}

// shopProcess is harmony-shop in a folder on PATH, with a harmony there that
// tells what it was given.
func shopProcess(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(folder, "harmony-shop")); err != nil {
		t.Fatal(err)
	}
	harmony := "#!/bin/sh\necho pid $$ apps $HARMONY_APP_PLUGIN\nprintf '<%s>' \"$@\"\nexit 5\n"
	if err := os.WriteFile(filepath.Join(folder, "harmony"), []byte(harmony), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":/usr/bin:/bin")
	return folder
}

// harmony takes the place of the plugin: its arguments, its process, its status.
func TestHandOver(t *testing.T) {
	folder := shopProcess(t)
	t.Setenv("HARMONY_APP_PLUGIN", "other")
	cmd := exec.CommandContext(t.Context(), filepath.Join(folder, "harmony-shop"), "release", "--from-tag", "shop-v1.4.0", "a b")
	var out strings.Builder
	cmd.Stdout = &out
	err := cmd.Start()
	if err == nil {
		err = cmd.Wait()
	}
	want := "pid " + strconv.Itoa(cmd.Process.Pid) + " apps shop\n<release><--from-tag><shop-v1.4.0><a b>"
	if cmd.ProcessState.ExitCode() != 5 || out.String() != want {
		t.Errorf("%v:\n%s\nwant status 5 and\n%s", err, out.String(), want)
	}
}

func TestHandOverRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(folder string) error
		want   string
	}{
		"no harmony":     {func(folder string) error { return os.Remove(filepath.Join(folder, "harmony")) }, "is a command of harmony"},
		"not on PATH":    {func(string) error { return os.Setenv("PATH", "/usr/bin:/bin") }, "is a command of harmony"},
		"another before": {func(folder string) error { return shadow(folder) }, "would ask"},
		"another name": {func(folder string) error {
			return os.Rename(filepath.Join(folder, "harmony-shop"), filepath.Join(folder, "harmony-shop1"))
		}, "would not find"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := shopProcess(t)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			if err := test.change(folder); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self, "release")
			cmd.Args[0] = "harmony-shop"
			out, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != protocol.ExitUnsupported || !strings.Contains(string(out), test.want) {
				t.Errorf("%v:\n%s\nwant %q", cmd.ProcessState, out, test.want)
			}
		})
	}
}

// shadow puts another harmony-shop into the place of the first.
func shadow(folder string) error {
	path := filepath.Join(folder, "harmony-shop")
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755)
}

func TestHelp(t *testing.T) {
	var out strings.Builder
	for _, args := range [][]string{nil, {"help"}, {"--help"}} {
		out.Reset()
		code := shop().Main(t.Context(), appkit.Streams{Out: &out, Err: t.Output()}, args)
		if code != 0 || !strings.Contains(out.String(), "harmony shop release --from-tag shop-v1.4.0") {
			t.Errorf("%v: status %d\n%s", args, code, out.String())
		}
	}
}
