// Package proof shows which image really runs: it compares what the containers
// of a release's pods were started from with the digest that was released.
package proof

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Digests is the set of digests under which container runtimes may tell an
// image: that of the reference, and its other names (see [Digests.Learn]).
type Digests map[string]bool

// Verdict is what the pods of a release show.
type Verdict struct {
	// Running counts the containers that run the image.
	Running int
	// Starting lists the containers of the image's repository that have not
	// started yet.
	Starting []Container
	// Others lists those that run what is not one of the digests. It may be the
	// image by another name (see [Digests.Learn]).
	Others []Container
}

// Container is a container of a pod.
type Container struct {
	Pod, Name string
	// Image is the reference in the pod's spec, and Digest what the runtime
	// reports that it runs.
	Image, Digest string
}

func (c Container) String() string {
	return fmt.Sprintf("pod %s, container %s runs %s", c.Pod, c.Name, c.Digest)
}

// Examine compares every container of the pods that has an image of the
// repository with the digests.
func Examine(image protocol.ImageRef, digests Digests, snapshots []rollout.Snapshot) Verdict {
	var v Verdict
	for _, s := range snapshots {
		for _, pod := range slices.Concat(s.Current, s.Old) {
			v.examine(image, digests, pod)
		}
	}
	return v
}

func (v *Verdict) examine(image protocol.ImageRef, digests Digests, pod *corev1.Pod) {
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if !SameRepository(c.Image, image) {
			continue
		}
		var status corev1.ContainerStatus
		if i := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == c.Name }); i >= 0 {
			status = statuses[i]
		}
		found := Container{Pod: pod.Name, Name: c.Name, Image: c.Image, Digest: digestOf(status.ImageID)}
		switch {
		case found.Digest == "":
			v.Starting = append(v.Starting, found)
		case digests[found.Digest] || digests[digestOf(status.Image)]:
			v.Running++
		default:
			v.Others = append(v.Others, found)
		}
	}
}

// digestOf is the digest in a container's imageID: runtimes write it as
// repository@sha256:…, docker-pullable://repository@sha256:… or sha256:….
func digestOf(imageID string) string {
	if i := strings.LastIndex(imageID, "sha256:"); i >= 0 {
		return imageID[i:]
	}
	return ""
}

// SameRepository reports whether a container's image is one of the image's
// repository, of whatever tag or digest.
func SameRepository(containerImage string, image protocol.ImageRef) bool {
	return strings.TrimPrefix(repository(containerImage), "docker.io/") == strings.TrimPrefix(image.FullName(), "docker.io/")
}

// repository is a reference without tag and digest.
func repository(reference string) string {
	name, _, _ := strings.Cut(reference, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}

// Prover proves that the pods of a release run its images, as often as it is
// asked during a rollout. It is not safe for use by several goroutines.
type Prover struct {
	release string
	// images are the app's own, first, and its further images.
	images []one
}

// one is an image to be proven.
type one struct {
	release string
	image   protocol.ImageRef
	// digests are the names of the image that are known so far.
	digests Digests
}

// Objects are those of a release.
type Objects struct {
	// Applied are there as long as the release is.
	Applied []*unstructured.Unstructured
	// Hooks reads those that had run to their end before the release was in force, and
	// may be gone: a further image can be all that one of them is for. May be nil.
	Hooks func(context.Context) ([]*unstructured.Unstructured, error)
}

// NewProver makes the prover of a release and all its images. It asks an image's
// registry when a runtime reports the image under a name that only the registry
// knows. For an app that has no image it proves those that the objects pin.
func NewProver(release string, image protocol.ImageRef) *Prover {
	p := &Prover{release: release}
	for _, image := range image.All() {
		p.images = append(p.images, one{release, image, Of(image)})
	}
	return p
}

// Proven reports whether the images are what runs in the pods of the release,
// whose objects those are; false when that cannot be said yet. An image that is
// not used, or another digest that runs in its place, is an error. A further image
// may also have been run by a hook.
func (p *Prover) Proven(ctx context.Context, objects Objects, snapshots []rollout.Snapshot) (bool, error) {
	if p.images[0].image.IsNone() {
		return p.images[0].pinned(ctx, objects.Applied, snapshots)
	}
	all := true
	for i := range p.images {
		proven, err := p.images[i].proven(ctx, objects.Applied, snapshots)
		if errors.As(err, new(unusedError)) && i > 0 && objects.Hooks != nil {
			hooks, failed := objects.Hooks(ctx)
			if failed != nil {
				return false, errors.Join(err, failed)
			}
			if manifest.Uses(manifest.Images(hooks), p.images[i].image.Digest) {
				proven, err = true, nil
			}
		}
		if err != nil {
			return false, err
		}
		all = all && proven
	}
	return all, nil
}

// unusedError reports an image that nothing of the release runs.
type unusedError struct{ error }

func (p *one) proven(ctx context.Context, objects []*unstructured.Unstructured, snapshots []rollout.Snapshot) (bool, error) {
	v := Examine(p.image, p.digests, snapshots)
	if len(v.Others) > 0 {
		if err := p.digests.Learn(ctx, p.image, v.Others); err != nil {
			return false, errors.Join(p.wrong(v), err)
		}
		v = Examine(p.image, p.digests, snapshots)
	}
	switch {
	case len(v.Others) > 0:
		return false, p.wrong(v)
	case len(v.Starting) > 0:
		return false, nil
	case v.Running > 0:
		return true, nil
	}
	// Nothing runs now: a CronJob, or a workload scaled to none.
	if manifest.Uses(manifest.Images(idle(objects, snapshots)), p.image.Digest) {
		return true, nil
	}
	return false, unusedError{fmt.Errorf("release %s does not use the image: no container runs %s@%s", p.release, p.image.FullName(), p.image.Digest)}
}

func (p *one) wrong(v Verdict) error {
	others := make([]string, len(v.Others))
	for i, c := range v.Others {
		others[i] = c.String()
	}
	return fmt.Errorf("release %s should run %s@%s, but: %s", p.release, p.image.FullName(), p.image.Digest, strings.Join(others, "; "))
}

// idle are the objects of which no pod exists now.
func idle(objects []*unstructured.Unstructured, snapshots []rollout.Snapshot) []*unstructured.Unstructured {
	running := map[string]bool{}
	for _, s := range snapshots {
		running[s.Workload.String()] = len(s.Current)+len(s.Old) > 0
	}
	var found []*unstructured.Unstructured
	for _, object := range objects {
		if !running[rollout.Workload{Kind: object.GetKind(), Name: object.GetName()}.String()] {
			found = append(found, object)
		}
	}
	return found
}

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

// ImagesIn are those of the images whose repositories the objects pin to a digest,
// with that digest: what runs of an app's further images, which may be others than
// those wanted.
func ImagesIn(objects []*unstructured.Unstructured, images map[string]protocol.ImageRef) map[string]protocol.ImageRef {
	found := map[string]protocol.ImageRef{}
	for name, image := range images {
		image.Tag, image.Digest = "", DigestIn(objects, image)
		if image.Digest != "" {
			found[name] = image
		}
	}
	return found
}

// Of is the digest of the reference alone, which is what containerd and CRI-O
// tell of an image that was pulled by digest.
func Of(image protocol.ImageRef) Digests { return Digests{image.Digest: true} }

// Learn adds the other names of the image to the digests: those of its
// platforms' manifests and configurations, and the names under which the
// containers run it.
//
// A container runtime keeps an image by its configuration and reports any one of
// the digests that it was ever pulled under: the same image under another index
// is told by either. So, for a container whose spec pins the image, a digest
// that has one of the image's configurations is another name of it.
func (d Digests) Learn(ctx context.Context, image protocol.ImageRef, containers []Container) error {
	own, err := lookup(ctx, image)
	if err != nil {
		return err
	}
	maps.Copy(d, own)
	for _, c := range containers {
		if d[c.Digest] || !manifest.Uses([]string{c.Image}, image.Digest) {
			continue
		}
		other := image
		other.Digest = c.Digest
		names, err := lookup(ctx, other)
		if err != nil {
			continue // what the registry does not know is not proven to be the image
		}
		for name := range names {
			if own[name] {
				d[c.Digest] = true
			}
		}
	}
	return nil
}

// lookup asks the registry for the digests of the image, of its platforms'
// manifests where it is an index, and of their configurations, which are the
// image IDs of runtimes.
func lookup(ctx context.Context, image protocol.ImageRef) (Digests, error) {
	images, err := platforms(ctx, image)
	digests := Of(image)
	for _, platform := range images {
		var manifest, config v1.Hash
		if manifest, err = platform.Digest(); err == nil {
			config, err = platform.ConfigName()
		}
		if err != nil {
			break
		}
		digests[manifest.String()], digests[config.String()] = true, true
	}
	if err != nil {
		return nil, fmt.Errorf("look up image %s: %w", image, err)
	}
	return digests, nil
}

func platforms(ctx context.Context, image protocol.ImageRef) ([]v1.Image, error) {
	ref, err := name.NewDigest(image.FullName()+"@"+image.Digest, auth.Naming(image.Insecure)...)
	if err != nil {
		return nil, err
	}
	descriptor, err := remote.Get(ref, auth.Options(ctx, ref, image.Insecure)...)
	if err != nil {
		return nil, err
	}
	if !descriptor.MediaType.IsIndex() {
		img, err := descriptor.Image()
		return []v1.Image{img}, err
	}
	index, err := descriptor.ImageIndex()
	if err != nil {
		return nil, err
	}
	return partial.FindImages(index, func(d v1.Descriptor) bool { return d.MediaType.IsImage() })
}
