package protocol

import (
	"fmt"
	"strings"
)

// ImageLocation says where an image's bytes are.
type ImageLocation string

// The places where an image can be.
const (
	// InDaemon: in the Docker-compatible daemon that the environment names, as
	// ImageRef.ID.
	InDaemon ImageLocation = "daemon"
	// InLayout: in an OCI layout folder, ImageRef.Path.
	InLayout ImageLocation = "ociLayout"
	// InRegistry: in the registry, under the digest.
	InRegistry ImageLocation = "registry"
	// InNodes: in the container runtime of every node that the topology deploys
	// to, under name:tag and name@digest; no registry has it.
	InNodes ImageLocation = "nodes"
)

// ImageRef is an image: its name, its digest and where its bytes are now. It
// prints as registry/project/name:tag@sha256:…
type ImageRef struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Registry is host or host:port; empty before the registry is known.
	Registry string `json:"registry,omitempty"`
	// Repository is the path in the registry: fleet/operator.
	Repository string `json:"repository"`
	// Tag is the tag in the registry.
	Tag string `json:"tag,omitempty"`
	// Digest is that of the image's manifest or index: sha256:… A daemon has no
	// manifest: it is made, always the same one, when the image is published, and
	// until then Digest may be empty and ID tells which image it is.
	Digest string `json:"digest,omitempty"`
	// ID is what a daemon calls the image: sha256:…, for InDaemon.
	ID string `json:"id,omitempty"`
	// Images are the app's further images, by the names of [AppSpec.Images].
	Images map[string]ImageRef `json:"images,omitempty"`
	// Platforms lists what is in the image, as os/arch or os/arch/variant.
	Platforms []string `json:"platforms,omitempty"`
	// InputDigest is that of everything that the image was made from, where the
	// builder knows it.
	InputDigest string `json:"inputDigest,omitempty"`
	// Location says where the bytes are, and Path the OCI layout folder,
	// absolute, for InLayout.
	Location ImageLocation `json:"location,omitempty"`
	// Path is the folder of an OCI layout, absolute.
	Path string `json:"path,omitempty"`
	// Insecure is true when the registry is spoken to by plain http.
	Insecure bool `json:"insecure,omitempty"`
	// Unchanged is true when there was nothing to build or push of this image; see
	// [ImageRef.AllUnchanged].
	Unchanged bool `json:"unchanged,omitempty"`
	// Planned is true in a dry run: nothing was done. Digest is then empty when
	// only the work itself could tell it.
	Planned bool `json:"planned,omitempty"`
}

// DocumentKind implements [Spec].
func (ImageRef) DocumentKind() Kind { return KindImageRef }

// The grammar of a reference's parts, that of the distribution project
// (github.com/distribution/reference), without its length limit of 255 but for
// the name.
var (
	registryPattern   = newPattern(`^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$`)
	repositoryPattern = newPattern(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagPattern        = newPattern(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	digestPattern     = newPattern(`^sha256:[0-9a-f]{64}$`)
)

// maxName is the longest registry and repository together, from the same
// grammar.
const maxName = 255

// ParseImageRef reads registry/project/name:tag@sha256:…, of which only the
// name is required. The first part is a registry when it holds a dot or a
// colon, or is localhost, as docker has it; nothing is filled in that is not
// there. Only sha256 digests are taken.
func ParseImageRef(s string) (ImageRef, error) {
	bad := func(format string, args ...any) (ImageRef, error) {
		return ImageRef{}, fmt.Errorf("image reference %q: %s", s, fmt.Sprintf(format, args...))
	}
	var ref ImageRef
	rest, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if !digestPattern.MatchString(digest) {
			return bad("digest %q is not sha256: and 64 lower-case hex digits", digest)
		}
		ref.Digest = digest
	}
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		ref.Tag, rest = rest[i+1:], rest[:i]
		if !tagPattern.MatchString(ref.Tag) {
			return bad("tag %q is not 1 to 128 of letters, digits, _, . and -", ref.Tag)
		}
	}
	if len(rest) > maxName {
		return bad("name is over %d characters", maxName)
	}
	if host, path, ok := strings.Cut(rest, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		if !registryPattern.MatchString(host) {
			return bad("registry %q is not a host or host:port", host)
		}
		ref.Registry, rest = host, path
	}
	if !repositoryPattern.MatchString(rest) {
		return bad("repository %q is not lower-case letters, digits and single separators, in parts divided by /", rest)
	}
	ref.Repository = rest
	return ref, nil
}

// IsNone reports that it stands for no image: that of an app without one has only
// its metadata.
func (r ImageRef) IsNone() bool { return r.Repository == "" && r.Digest == "" }

// FullName is registry/repository, without tag and digest.
func (r ImageRef) FullName() string {
	if r.Registry == "" {
		return r.Repository
	}
	return r.Registry + "/" + r.Repository
}

// String is the whole reference; [ParseImageRef] reads it back.
func (r ImageRef) String() string {
	s := r.FullName()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// InputTag is the tag under which an image is found again by its input digest,
// sha256:…: publish sets it and build looks for it.
func InputTag(input string) string { return "input-" + strings.TrimPrefix(input, "sha256:") }

// InputAnnotation is the annotation of an image's manifest with the digest of its
// input. What has another one, or none, is not the image of that input.
const InputAnnotation = "io.nationtech.harmony.input"

// TagOf is the OCI tag of a semantic version: tags cannot hold a plus sign,
// which becomes an underscore, as Helm has it.
func TagOf(version string) string { return strings.ReplaceAll(version, "+", "_") }
