// Package devicestest plays edge devices in tests.
package devicestest

import (
	"maps"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Time is when all reports are made.
const Time = "2026-01-02T03:04:05Z"

// Report is what a device says of the state of a revision: reference is the
// repository of reports with the device's name as the tag.
func Report(t testing.TB, reference, state, revision, message string) {
	t.Helper()
	Push(t, reference, Image(state, revision, Time, map[string]string{"harmony.nationtech.io/message": message}))
}

// Image is the artifact of a report that was made at a time, with further annotations.
func Image(state, revision, at string, more map[string]string) v1.Image {
	annotations := map[string]string{
		"org.opencontainers.image.revision": revision, "org.opencontainers.image.created": at, "harmony.nationtech.io/state": state,
	}
	maps.Copy(annotations, more)
	return mutate.Annotations(mutate.MediaType(empty.Image, types.OCIManifestSchema1), annotations).(v1.Image)
}

// Push pushes an image.
func Push(t testing.TB, reference string, image v1.Image) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
}
