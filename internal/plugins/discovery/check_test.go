package discovery_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestFindCheck(t *testing.T) {
	root := t.TempDir()
	good, bad := put(t, filepath.Join(root, "good"), 0o755, "harmony-check-sql"), put(t, filepath.Join(root, "bad"), 0o777, "harmony-check-dns")
	f := discovery.Finder{Path: good + ":" + bad, UID: os.Getuid()}
	if found, err := f.FindCheck("sql"); err != nil || found.Path != filepath.Join(good, "harmony-check-sql") {
		t.Errorf("got %+v, %v", found, err)
	}
	for kind, want := range map[string][2]string{
		"htpp":  {"no executable harmony-check-htpp is on PATH", "did you mean http?"},
		"sqll":  {"no executable harmony-check-sqll is on PATH", "did you mean sql?"},
		"kafka": {"no executable harmony-check-kafka is on PATH", "put harmony-check-kafka into a folder of PATH"},
		"dns":   {"writable by others", "chmod"},
	} {
		_, err := f.FindCheck(kind)
		if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), want[0]) || !strings.HasPrefix(protocol.HintOf(err), want[1]) {
			t.Errorf("%s: got %v, hint %q", kind, err, protocol.HintOf(err))
		}
	}
}
