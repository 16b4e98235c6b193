package protocol_test

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestExisting(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	for ref, want := range map[string]string{
		"ghcr.io/org/app:1.2":              "ghcr.io/org/app:1.2",
		"ghcr.io/org/app@" + digest:        "ghcr.io/org/app@" + digest,
		"localhost:5000/app:1.2@" + digest: "localhost:5000/app:1.2@" + digest,
		"nginx:1.27":                       "docker.io/library/nginx:1.27",
		"docker.io/nginx:1.27":             "docker.io/library/nginx:1.27",
		"grafana/grafana:12":               "docker.io/grafana/grafana:12",
		"ghcr.io/org/app":                  "",
		"ghcr.io/Org/app:1":                "",
		"https://ghcr.io/org/app:1":        "",
	} {
		got, err := protocol.ImageSource{Ref: ref}.Existing()
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), ref) {
				t.Errorf("%s: got %s, %v", ref, got, err)
			}
			continue
		}
		if err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v; want %s", ref, got, err, want)
		}
	}
}

func TestPublishedImage(t *testing.T) {
	no := false
	for _, test := range []struct {
		image protocol.ImageSource
		want  string
	}{
		{protocol.ImageSource{Ref: "ghcr.io/org/app:1.2"}, "registry.example.com/fleet/web"},
		{protocol.ImageSource{Ref: "ghcr.io/org/app:1.2", Repository: "mirrored/app"}, "registry.example.com/fleet/mirrored/app"},
		{protocol.ImageSource{Ref: "nginx:1.2", Mirror: &no}, "docker.io/library/nginx"},
	} {
		app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "web"}, Image: test.image}
		if got, err := app.PublishedImage("registry.example.com/fleet/"); err != nil || got.String() != test.want {
			t.Errorf("%+v: got %s, %v; want %s", test.image, got, err, test.want)
		}
	}
}
