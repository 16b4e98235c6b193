package proof

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// DigestIn is the digest that objects pin images of the repository to; "" when
// there is none, or more than one.
func DigestIn(objects []*unstructured.Unstructured, repository protocol.ImageRef) string {
	digest := ""
	for _, image := range manifest.Images(objects) {
		_, found, pinned := strings.Cut(image, "@")
		if !pinned || !SameRepository(image, repository) {
			continue
		}
		if digest != "" && digest != found {
			return ""
		}
		digest = found
	}
	return digest
}
