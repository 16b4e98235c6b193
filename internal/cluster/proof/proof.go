// Package proof shows which image really runs: it compares what the containers
// of a release's pods were started from with the digest that was released.
package proof

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony/internal/cluster/rollout"
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
	// tells that it runs.
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
