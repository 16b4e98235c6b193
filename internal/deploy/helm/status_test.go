package helm

import (
	"os"
	"path/filepath"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TestHide holds that a message of Helm or Flux tells no value that is encrypted in the
// project, and says the same as before where none is.
func TestHide(t *testing.T) {
	const (
		said   = "execution error at (app/templates/app.yaml:3:4): bad password hunter2hunter2 for user anna-maria"
		masked = "execution error at (app/templates/app.yaml:3:4): bad password *** for user anna-maria"
		none   = "what it says may quote encrypted values; kubectl describe shows it"
	)
	sealed := "password: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]\nuser: anna-maria\nsops: {mac: x, lastmodified: x}\n"
	config := map[string]any{"password": "hunter2hunter2", "user": "anna-maria"}
	for name, test := range map[string]struct {
		file string
		last *release.Release
		want string
	}{
		"encrypted":                    {sealed, &release.Release{Config: config}, masked},
		"encrypted, without a release": {sealed, nil, none},
		"not encrypted":                {"password: hunter2hunter2\n", &release.Release{Config: config}, said},
		"not valid":                    {"- a\n", nil, none},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.WriteFile(filepath.Join(root, "values.yaml"), []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			app := protocol.AppSpec{ProjectRoot: root, Targets: map[string]protocol.TargetValues{"staging": {ValuesFiles: []string{"values.yaml"}}}}
			entries := []status.Entry{{Message: said}, {}}
			hide(app, "staging", test.last, entries)
			if entries[0].Message != test.want || entries[1].Message != "" {
				t.Errorf("%q, want %q; %q, want none", entries[0].Message, test.want, entries[1].Message)
			}
		})
	}
}
