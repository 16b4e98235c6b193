package builder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/project/appplugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// FuzzAnswer looks that no answer of a plugin leads out of its folder, nor ends
// in a panic.
func FuzzAnswer(f *testing.F) {
	const ref = `{"apiVersion":"harmony.nationtech.io/v1","kind":"ChartRef","metadata":{"name":"a"},"spec":{"path":"in"}}`
	for _, seed := range []string{"", "{}", ref, ref + "\n" + ref, strings.Replace(ref, `"in"`, `"../x"`, 1), strings.Replace(ref, "ChartRef", "Failure", 1), strings.Replace(ref, `"in"`, `"link"`, 1), `{"kind":1}`} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		f.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(dir, "link")); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var ref protocol.ChartRef
		documents, err := appplugin.Answer(text, "", nil)
		if err == nil {
			ref, err = chartOf(documents)
		}
		if err != nil {
			if protocol.ExitCode(err) == protocol.ExitOK {
				t.Fatalf("an error of status 0: %v", err)
			}
			return
		}
		made, err := within(dir, ref.Path)
		if err == nil && made != dir && made != filepath.Join(dir, "in") {
			t.Errorf("%q leads to %s", ref.Path, made)
		}
	})
}
