package oci

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestCheck(t *testing.T) {
	secured(t, func(t *testing.T, f *front) {
		check := func(prefix string) (Access, *client) {
			c := fastClient(t, environment(f.host+"/"+prefix), "spec.ociRegistry", f.through)
			repository, err := name.NewRepository(f.host + "/" + c.path(probe))
			if err != nil {
				t.Fatal(err)
			}
			access, err := c.check(t.Context(), repository)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(fmt.Sprint(access), password) {
				t.Errorf("the answer holds the password: %v", access)
			}
			return access, c
		}
		f.Before(nil)
		access, _ := check("fleet")
		if access.Pull != nil || access.Push != nil || access.Source != "environment HARMONY_REGISTRY_USERNAME" || access.Repository != f.host+"/fleet/harmony-check" {
			t.Errorf("got %+v", access)
		}
		for _, request := range f.Requests() {
			method, _, _ := strings.Cut(request, " ")
			if method == http.MethodPut || method == http.MethodPatch {
				t.Errorf("a check sent %s", request)
			}
		}
		if last := f.Requests()[len(f.Requests())-1]; !strings.HasPrefix(last, "DELETE /v2/fleet/harmony-check/blobs/uploads/") {
			t.Errorf("the last request is %s: the upload stays open", last)
		}
		if f.bearer {
			access, _ = check("forbidden")
			if protocol.ExitCode(access.Pull) != protocol.ExitFailed || protocol.ExitCode(access.Push) != protocol.ExitFailed {
				t.Errorf("without rights: got %+v", access)
			}
		}
		t.Setenv("HARMONY_REGISTRY_PASSWORD", "wrong-"+password)
		access, _ = check("fleet")
		if protocol.ExitCode(access.Pull) != protocol.ExitFailed || protocol.ExitCode(access.Push) != protocol.ExitFailed || !strings.Contains(protocol.HintOf(access.Push), "docker login") {
			t.Errorf("with a wrong password: got %+v", access)
		}
		t.Setenv("HARMONY_REGISTRY", "")
		access, _ = check("fleet")
		if access.Source != "anonymous" || access.Push == nil {
			t.Errorf("without credentials: got %+v", access)
		}
	})
}
