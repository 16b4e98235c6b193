package build_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// BenchmarkUnchangedContext finds the image of a context of 10,000 files that
// did not change, as a new process does.
func BenchmarkUnchangedContext(b *testing.B) {
	dir, cache := b.TempDir(), b.TempDir()
	for i := range 10_000 {
		path := filepath.Join(dir, "src", fmt.Sprintf("module-%03d", i/50), fmt.Sprintf("file-%05d.txt", i))
		if i%50 == 0 {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "%d", i), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"Dockerfile":    "FROM scratch\nCOPY src/module-000 /\n",
		".dockerignore": ".git\n**/node_modules\n**/*.log\n!keep.log\ntmp/*\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	// What was changed less than two seconds ago is read again.
	time.Sleep(2100 * time.Millisecond)
	app := protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "demo", Version: "1.0.0"}, ProjectRoot: dir,
		Image: protocol.ImageSource{Dockerfile: &protocol.Dockerfile{}},
	}
	build := func() protocol.ImageRef {
		adapter, err := daemonless.New(nil)(b.Context(), capability.Environment{Cache: cache, Progress: func(protocol.Event) {}})
		if err != nil {
			b.Fatal(err)
		}
		image, err := adapter.BuildImage(b.Context(), app)
		if err != nil {
			b.Fatal(err)
		}
		return image
	}
	build()
	for b.Loop() {
		if !build().Unchanged {
			b.Fatal("built again")
		}
	}
}
