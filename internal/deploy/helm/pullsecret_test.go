package helm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The pull secret is for the registries of all images of the app. Images that others
// publish for everybody need none.
func TestPullSecretOfAllImages(t *testing.T) {
	const logins = `{"auths": {
		"r.example.com": {"username": "ci", "password": "one"},
		"r.example.com/team": {"username": "team", "password": "two"},
		"ghcr.io": {"username": "me", "password": "three"},
		"index.docker.io": {"identitytoken": "four"}
	}}`
	for _, test := range []struct {
		name   string
		own    string
		others map[string]string // by name; those with ! stay where they are
		want   string
		fails  string
	}{
		{"one", "r.example.com/fleet/shop", nil, `{"auths":{"r.example.com":{"username":"ci","password":"one"}}}`, ""},
		{"all of one registry", "r.example.com/fleet/shop", map[string]string{"jobs": "r.example.com/fleet/jobs"}, `{"auths":{"r.example.com":{"username":"ci","password":"one"}}}`, ""},
		{"one of another registry", "r.example.com/fleet/shop", map[string]string{"jobs": "!ghcr.io/org/jobs"},
			`{"auths":{"ghcr.io":{"username":"me","password":"three"},"r.example.com":{"username":"ci","password":"one"}}}`, ""},
		{"one of another account", "r.example.com/fleet/shop", map[string]string{"jobs": "r.example.com/team/jobs"},
			`{"auths":{"r.example.com":{"username":"ci","password":"one"},"r.example.com/team/jobs":{"username":"team","password":"two"}}}`, ""},
		{"one for everybody", "r.example.com/fleet/shop", map[string]string{"jobs": "!quay.io/org/jobs"}, `{"auths":{"r.example.com":{"username":"ci","password":"one"}}}`, ""},
		{"all for everybody", "!quay.io/org/shop", nil, `{"auths":{}}`, ""},
		{"the own registry without a login", "quay.io/org/shop", nil, "", "no user name with a password for registry quay.io, which has spec.image (found: anonymous)"},
		{"another one with a token", "r.example.com/fleet/shop", map[string]string{"jobs": "!docker.io/org/jobs"}, "", "no user name with a password for registry index.docker.io, which has spec.images.jobs (found: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			for _, name := range []string{"HARMONY_REGISTRY", "HARMONY_REGISTRY_USERNAME", "HARMONY_REGISTRY_PASSWORD", "HARMONY_REGISTRY_PASSWORD_FILE", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
				t.Setenv(name, "")
			}
			t.Setenv("HOME", folder)
			t.Setenv("DOCKER_CONFIG", folder)
			if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(logins), 0o600); err != nil {
				t.Fatal(err)
			}
			no := false
			read := func(text string) (image protocol.ImageRef, source protocol.ImageSource) {
				image, err := protocol.ParseImageRef(strings.TrimPrefix(text, "!"))
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(text, "!") {
					source = protocol.ImageSource{Ref: image.FullName() + ":1", Mirror: &no}
				}
				return image, source
			}
			d := &deployment{Call: delivery.Call{App: protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop"}, Images: map[string]protocol.AppImage{}}}, settings: options{pullSecret: "pull"}}
			d.Image, d.App.Image = read(test.own)
			d.Image.Images = map[string]protocol.ImageRef{}
			for name, text := range test.others {
				image, source := read(text)
				d.Image.Images[name], d.App.Images[name] = image, protocol.AppImage{ImageSource: source}
			}
			secret, err := d.credentials(t.Context())
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) || protocol.ExitCode(err) != protocol.ExitInvalid {
					t.Errorf("got %v, want %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(secret.Data[corev1.DockerConfigJsonKey]); got != test.want {
				t.Errorf("got %s\nwant %s", got, test.want)
			}
		})
	}
}
