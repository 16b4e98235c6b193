// Package chart is what packaging, publishing and delivering know of a chart.
package chart

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Chart is a packaged chart.
type Chart struct {
	// Name and Version are those of Chart.yaml, with the release's version.
	Name, Version string
	// Config is what Chart.yaml says, as JSON: the config of the artifact that a
	// registry keeps. Annotations are those of the artifact's manifest.
	Config      []byte
	Annotations map[string]string
	// Archive is the .tgz, as helm package makes it. It is empty in a plan that
	// does not know the image's digest.
	Archive []byte
	// Tag is what a registry keeps the chart under; its version when empty.
	Tag string
	// Pinned is true when the chart names all images by digest.
	Pinned bool
	// Image is where the chart's values take the image.
	Image protocol.ImagePlaces
	// Images tells the same of the app's further images; each has an entry.
	Images map[string]protocol.ImagePlaces
	// Found is true when rendering told one of them, and not who wrote the app.
	Found bool
	// Warnings say what could not be checked.
	Warnings []string
}

// Digest is that of the archive: sha256:…
func (c Chart) Digest() string {
	sum := sha256.Sum256(c.Archive)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Packer packages the chart of an app, which uses the image. Adapters know only
// this of charts: Helm's libraries start slowly, and are linked by the binary
// that hands one in.
type Packer func(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (Chart, error)
