package proof

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/deploy/manifest"
)

// Images lists the images of all containers that objects describe; see
// [manifest.Images].
func Images(objects []*unstructured.Unstructured) []string { return manifest.Images(objects) }

// Uses reports whether one of the images is pinned to the digest.
func Uses(images []string, digest string) bool { return manifest.Uses(images, digest) }
