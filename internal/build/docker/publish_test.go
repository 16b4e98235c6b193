package docker

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/publish/oci"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// What a daemon made is published, found unchanged, found again by its input on
// a machine that never saw it, and pulled as what was built.
func TestPublish(t *testing.T) {
	eachDaemon(t, func(t *testing.T, s server) {
		app := project(t, "RUN echo made >/made\nENTRYPOINT [\"/bin/busybox\", \"cat\", \"/made\"]\n", nil)
		b := open(t, s, app, build.Flags{})
		image, err := b.BuildImage(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		registry := clustertest.Registry(t)
		env := capability.Environment{Progress: func(protocol.Event) {}, Cache: t.TempDir(), Provider: protocol.Provider{Adapter: "oci", URL: registry}}
		publish := func() protocol.ImageRef {
			t.Helper()
			r, err := oci.NewRegistry(nil)(t.Context(), env)
			if err != nil {
				t.Fatal(err)
			}
			pushed, err := r.PushImage(t.Context(), app, image)
			if err != nil {
				t.Fatal(err)
			}
			return pushed
		}
		first := publish()
		if first.Unchanged || first.Location != protocol.InRegistry || first.Digest == "" {
			t.Errorf("first is %+v", first)
		}
		if again := publish(); !again.Unchanged || again.Digest != first.Digest {
			t.Errorf("again: %+v", again)
		}
		env.Cache = t.TempDir()
		if again := publish(); !again.Unchanged || again.Digest != first.Digest {
			t.Errorf("without memory: %+v", again)
		}
		whole(t, first)
		pulled := pull(t, first)
		if s.kind != "podman" && pulled != image.ID {
			t.Errorf("pulled %s, built %s", pulled, image.ID)
		}

		fresh := capability.Environment{Progress: func(protocol.Event) {}, Cache: t.TempDir()}
		fresh.Topology.OCIRegistry = &env.Provider
		t.Setenv("DOCKER_HOST", "unix:///nowhere.sock")
		runner, err := New(nil)(t.Context(), fresh)
		if err != nil {
			t.Fatal(err)
		}
		found, err := runner.BuildImage(t.Context(), app)
		if err != nil || !found.Unchanged || found.Digest != first.Digest || found.Location != protocol.InRegistry {
			t.Errorf("on a fresh machine: %+v, %v", found, err)
		}
	})
}

// whole looks at every byte of an image in the registry.
func whole(t *testing.T, image protocol.ImageRef) {
	t.Helper()
	ref, err := name.ParseReference(image.FullName() + "@" + image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	content, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(content); err != nil {
		t.Error(err)
	}
}

// pull has dockerd pull the image by digest, and returns its ID.
func pull(t *testing.T, image protocol.ImageRef) string {
	t.Helper()
	socket, err := url.Parse(clustertest.Docker(t))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: unixTransport(socket.Path)}
	reference := image.FullName() + "@" + image.Digest
	response, err := client.Post("http://docker/images/create?fromImage="+url.QueryEscape(reference), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	response, err = client.Get("http://docker/images/" + reference + "/json")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var pulled struct{ Id string }
	if err := json.NewDecoder(response.Body).Decode(&pulled); err != nil || pulled.Id == "" {
		t.Fatalf("not pulled: %v, %s", err, said)
	}
	t.Cleanup(func() {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodDelete, "http://docker/images/"+reference, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		response.Body.Close()
	})
	return pulled.Id
}
