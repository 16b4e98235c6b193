package differential

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TestSameImages builds every case with both.
func TestSameImages(t *testing.T) {
	registry := os.Getenv("HARMONY_TEST_REGISTRY")
	if registry == "" {
		missing(t, "HARMONY_TEST_REGISTRY")
	}
	files, host := startFiles(t)
	s := servers{registry: fmt.Sprintf("%s/differential-%d", registry, os.Getpid()), files: host}
	buildkit := startBuildKit(t, registry)
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 40 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			compare(t, buildkit, open(t, path, s, files))
		})
	}
}

func compare(t *testing.T, buildkit builder, c testCase) {
	t.Helper()
	got, err := daemonlessBuild(t, c)
	theirs, theirErr := buildkit.build(t.Context(), c)
	switch {
	case c.fails != "":
		if theirErr == nil {
			t.Error("BuildKit builds it")
		} else {
			t.Logf("BuildKit: %v", theirErr)
		}
		mustRefuse(t, err, c.fails)
		return
	case theirErr != nil:
		t.Fatalf("BuildKit: %v (daemonless: %v)", theirErr, err)
	case c.refused != "":
		mustRefuse(t, err, c.refused)
		return
	case err != nil:
		t.Fatalf("daemonless: %v", err)
	}
	want, err := read(theirs)
	if err != nil {
		t.Fatalf("image of BuildKit: %v", err)
	}
	have, err := read(got)
	if err != nil {
		t.Fatalf("image of daemonless: %v", err)
	}
	if d := want.difference(have, c.layers == ""); d != "" {
		t.Errorf("- BuildKit, + daemonless:\n%s", d)
	}
	if len(want.files) == 0 && len(want.config) == 0 {
		t.Error("nothing was compared")
	}
}

// mustRefuse compares an error with "CODE TEXT".
func mustRefuse(t *testing.T, err error, want string) {
	t.Helper()
	code, text, _ := strings.Cut(want, " ")
	if err == nil || fmt.Sprint(protocol.ExitCode(err)) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("daemonless: status %d, %v; want %s", protocol.ExitCode(err), err, want)
	}
}

// daemonlessBuild builds a case and returns the OCI layout.
func daemonlessBuild(t *testing.T, c testCase) (content, error) {
	t.Helper()
	adapter, err := daemonless.New(&build.Flags{})(t.Context(), capability.Environment{Cache: t.TempDir(), Progress: func(protocol.Event) {}})
	if err != nil {
		return nil, err
	}
	return layoutOf(t.Context(), adapter, c)
}

func layoutOf(ctx context.Context, b capability.ContainerBuilder, c testCase) (content, error) {
	ref, err := b.BuildImage(ctx, protocol.AppSpec{
		Metadata:    protocol.Metadata{Name: "case", Version: "1.0.0"},
		ProjectRoot: c.dir,
		Image: protocol.ImageSource{
			Platforms:  []string{c.platform},
			Dockerfile: &protocol.Dockerfile{Path: c.dockerfile, Target: c.target, Args: c.args},
		},
	})
	if err != nil {
		return nil, err
	}
	return func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(ref.Path, name)) }, nil
}
