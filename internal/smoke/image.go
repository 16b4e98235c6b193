package smoke

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// jobImage is what a Job runs.
type jobImage struct {
	reference string
	secrets   []corev1.LocalObjectReference
}

// imageOf is the image of a Job: the one that it names, else one of the app's own, by the
// digest that is deployed.
func (s scene) imageOf(ctx context.Context, spec protocol.JobSpec) (jobImage, error) {
	if spec.Image != "" {
		return jobImage{reference: spec.Image}, nil
	}
	app, digest := s.app, s.deployed.Image
	if spec.AppImage != "" {
		app, digest = s.app.ForImage(spec.AppImage), s.deployed.Images[spec.AppImage]
	}
	workloads, err := rolloutProbe{app: s.app.Name, cluster: s.cluster}.find(ctx)
	if err == nil {
		if found, ok := usedBy(workloads, app, digest); ok {
			return found, nil
		}
	}
	if digest == "" || s.topology.OCIRegistry == nil {
		if err == nil {
			err = fmt.Errorf("no workload of %s runs its image %s by digest", s.app.Name, app.Repository())
		}
		return jobImage{}, fmt.Errorf("which image is deployed is not known: %w", err)
	}
	published, err := app.PublishedImage(s.topology.OCIRegistry.URL)
	return jobImage{reference: published.FullName() + "@" + digest}, err
}

// usedBy is the app's image, and how it is pulled, as workloads use it: that of the digest,
// or of the app's repository where the digest is not known.
func usedBy(workloads []workload, app protocol.AppSpec, digest string) (jobImage, bool) {
	repository := app.Repository()
	if app.Image.Stays() {
		existing, _ := app.Image.Existing() // what is wrong with it was told before
		repository = existing.Repository
	}
	for _, w := range workloads {
		pod := w.Spec.Template.Spec
		for _, c := range slices.Concat(pod.Containers, pod.InitContainers) {
			image, err := protocol.ParseImageRef(c.Image)
			own := image.Repository == repository || strings.HasSuffix(image.Repository, "/"+repository)
			if err == nil && image.Digest != "" && (image.Digest == digest || digest == "" && own) {
				return jobImage{reference: c.Image, secrets: pod.ImagePullSecrets}, true
			}
		}
	}
	return jobImage{}, false
}
