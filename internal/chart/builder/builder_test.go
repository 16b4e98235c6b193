package builder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/nationtech/harmony/internal/chart/builder"
	"github.com/nationtech/harmony/internal/chart/pack"
	"github.com/nationtech/harmony/pkg/appkit"
	"github.com/nationtech/harmony/pkg/appkit/chart"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The test's own program is the app plugin harmony-shop, where it has that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "harmony-shop" {
		os.Exit(shop().Main(context.Background(), appkit.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func shop() appkit.Plugin {
	return appkit.Plugin{Name: "shop", Version: "1.0.0", Apps: []appkit.App{{
		Spec: protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop"}},
		Chart: func(_ context.Context, app protocol.AppSpec, image protocol.ImageRef) (appkit.Chart, error) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: app.Name, Annotations: map[string]string{"note": "{{ kept }}"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "shop", Image: image.String()}}},
			}
			return chart.Chart{Objects: []runtime.Object{pod}}, nil
		},
	}}}
}

// install puts the test's program on PATH as harmony-shop.
func install(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(onPath(t), "harmony-shop")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// onPath is a folder that alone, beside the system's, is on PATH.
func onPath(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	return dir
}

// script is an app plugin in shell that offers the app shop. $3 is the folder.
func script(t *testing.T, dir, name, text string) {
	t.Helper()
	describe := `{"apiVersion":"harmony.nationtech.io/v1","kind":"PluginInfo","metadata":{"name":"x","version":"1.0.0"},"spec":{"protocol":{"min":1,"max":1},"apps":["shop"]}}`
	text = fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = describe ]; then echo '%s'; exit; fi\n%s\n", describe, text)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func app(t *testing.T, plugin string) protocol.AppSpec {
	return protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "shop", Version: "1.4.0"}, ProjectRoot: t.TempDir(),
		Chart: protocol.ChartSource{Builder: &protocol.ChartBuilder{Plugin: plugin}},
	}
}

func image() protocol.ImageRef {
	return protocol.ImageRef{
		Metadata: protocol.Metadata{Name: "shop", Version: "1.4.0"},
		Registry: "registry.example.com", Repository: "shop", Tag: "1.4.0", Digest: "sha256:" + strings.Repeat("a", 64),
	}
}

func TestChartOfAnAppPlugin(t *testing.T) {
	for name, plugin := range map[string]string{"named": "harmony-shop", "found by the app that it offers": ""} {
		t.Run(name, func(t *testing.T) {
			install(t)
			packed, err := pack.Pack(t.Context(), app(t, plugin), image())
			if err != nil {
				t.Fatal(err)
			}
			c, err := loader.LoadArchive(bytes.NewReader(packed.Archive))
			if err != nil || c.Name() != "shop" || c.Metadata.Version != "1.4.0" {
				t.Fatalf("%v: %+v", err, c.Metadata)
			}
			again, err := pack.Pack(t.Context(), app(t, plugin), image())
			if err != nil || again.Digest() != packed.Digest() {
				t.Errorf("made again it is %s, %v; was %s", again.Digest(), err, packed.Digest())
			}
		})
	}
}

// The real helm takes the chart, and renders what was text in Go as that text.
func TestHelmTakesTheChart(t *testing.T) {
	helm := os.Getenv("HARMONY_TEST_HELM")
	if helm == "" {
		t.Skip("needs the test cluster: HARMONY_TEST_HELM is not set")
	}
	install(t)
	packed, err := pack.Pack(t.Context(), app(t, "harmony-shop"), image())
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "shop.tgz")
	if err := os.WriteFile(archive, packed.Archive, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"lint", "template"} {
		out, err := exec.CommandContext(t.Context(), helm, verb, archive).CombinedOutput()
		if err != nil {
			t.Fatalf("helm %s: %v\n%s", verb, err, out)
		}
		if text := string(out); verb == "template" && (!strings.Contains(text, "note: '{{ kept }}'") || !strings.Contains(text, image().String())) {
			t.Errorf("it renders\n%s", out)
		}
	}
}

func TestAskRefuses(t *testing.T) {
	const ref = `{"apiVersion":"harmony.nationtech.io/v1","kind":"ChartRef","metadata":{"name":"shop"},"spec":{"chart":"shop","chartVersion":"1.4.0","digest":"","path":"%s"}}`
	answer := func(path string) string { return "echo '" + fmt.Sprintf(ref, path) + "'" }
	for _, test := range []struct {
		name, plugin, text string
		code               int
		want               string
	}{
		{"no plugin of the name", "harmony-absent", "", protocol.ExitUnsupported, "harmony-absent"},
		{"silence", "", "exit 0", protocol.ExitFailed, "it wrote no documents"},
		{"an exit status", "", "echo 'out of \033[31mpaper' >&2; exit 7", protocol.ExitFailed, "exit status 7:\nout of [31mpaper"},
		{"an answer, then an exit status", "", "mkdir $3/a; " + answer("a") + "; exit 1", protocol.ExitFailed, "exit status 1"},
		{"noise", "", "echo hello", protocol.ExitFailed, "invalid answer"},
		{"endless output", "", "exec yes", protocol.ExitFailed, "more than"},
		{"a folder of its own", "", answer("/etc"), protocol.ExitInvalid, "not in the folder"},
		{"a way up", "", answer("../.."), protocol.ExitInvalid, "not in the folder"},
		{"a link out", "", "ln -s /etc $3/a; " + answer("a"), protocol.ExitInvalid, "not in the folder"},
		{"no folder", "", answer("a"), protocol.ExitFailed, "no such file"},
		{"a failure", "", `echo '{"apiVersion":"harmony.nationtech.io/v1","kind":"Failure","metadata":{},"spec":{"stage":"app","code":4,"message":"the source is \u001b[1maway"}}'; exit 4`, protocol.ExitRetryable, "the source is [1maway"},
	} {
		t.Run(test.name, func(t *testing.T) {
			script(t, onPath(t), "harmony-paper", test.text)
			err := builder.Ask(t.Context(), app(t, test.plugin), image(), func(dir string, _ protocol.ChartRef) error {
				t.Errorf("the chart %s is taken", dir)
				return nil
			})
			if protocol.ExitCode(err) != test.code || !strings.Contains(fmt.Sprint(err), test.want) {
				t.Errorf("status %d, %v; want %d, %q", protocol.ExitCode(err), err, test.code, test.want)
			}
		})
	}
}

func TestOnlyTrustedPluginsAreAsked(t *testing.T) {
	dir := onPath(t)
	ran := filepath.Join(t.TempDir(), "ran")
	path := filepath.Join(dir, "harmony-paper")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, plugin := range []string{"", "harmony-paper"} {
		err := builder.Ask(t.Context(), app(t, plugin), image(), nil)
		if protocol.ExitCode(err) != protocol.ExitUnsupported {
			t.Errorf("plugin %q: got %v", plugin, err)
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a plugin that others could have written was run")
	}
}

func TestTwoPluginsOfOneApp(t *testing.T) {
	dir := onPath(t)
	script(t, dir, "harmony-a", "exit 1")
	script(t, dir, "harmony-b", "exit 1")
	err := builder.Ask(t.Context(), app(t, ""), image(), nil)
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "harmony-b") {
		t.Errorf("got %v", err)
	}
}

// A plugin that hangs, and what it started, end with the caller.
func TestCancelled(t *testing.T) {
	dir, left := onPath(t), filepath.Join(t.TempDir(), "left")
	script(t, dir, "harmony-paper", "(trap '' TERM; echo started >"+left+"; while :; do sleep 0.05; echo x >>"+left+"; done) & sleep 300")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		for ctx.Err() == nil && size(left) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}()
	err := builder.Ask(ctx, app(t, "harmony-paper"), image(), nil)
	if !errors.Is(err, context.Canceled) || protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("got %v", err)
	}
	before := size(left)
	time.Sleep(300 * time.Millisecond) // of silence: it would have written six times
	if after := size(left); before == 0 || after != before {
		t.Errorf("what the plugin started still writes: %d bytes, then %d", before, after)
	}
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
