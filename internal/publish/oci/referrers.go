package oci

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// limits bound what comes with one image.
type limits struct {
	// artifacts and bytes are how many refer to it, and how large they are together.
	artifacts int
	bytes     int64
	// depth is how far an artifact is followed that refers to another one.
	depth int
}

// usualLimits are far above what signatures, SBOMs and provenance of one image need.
var usualLimits = limits{artifacts: 100, bytes: 256 << 20, depth: 3} //nolint:gochecknoglobals // a constant

// maxLeft is how many artifacts are named that do not come with an image.
const maxLeft = 8

// cosignTags are the ends of the tags sha256-… that cosign gives to what refers to an
// image.
var cosignTags = []string{".sig", ".att", ".sbom"} //nolint:gochecknoglobals // a constant

// referrer is an artifact that refers to an image: a signature, an SBOM, an attestation.
type referrer struct {
	artifact
	// tags are those by which cosign finds it; none for an artifact that names the image
	// as its subject.
	tags []string
}

// search collects what refers to an image of another repository: by the referrers API
// or its fallback tag, and by cosign's tags.
type search struct {
	other *client
	at    ocilayout.Place
	// repository is that of the image.
	repository name.Repository
	limits     limits

	mu    sync.Mutex
	found []referrer
	bytes int64
	seen  map[v1.Hash]bool
	left  []string
}

// listed is an artifact that refers to an image.
type listed struct {
	v1.Descriptor
	tag string
}

// referrers are the artifacts that refer to the image, to the images of its index, or to
// another of these artifacts, and why others do not come along. One that cannot be read is
// an error: what checks signatures would refuse the copy.
func (c *client) referrers(ctx context.Context, image protocol.ImageRef, of artifact) ([]referrer, []string, error) {
	at := ocilayout.Place{Registry: image.Registry, Repository: image.Repository, Insecure: image.Insecure}
	other, err := c.other(at)
	if err != nil {
		return nil, nil, err
	}
	repository, err := name.NewRepository(image.FullName(), other.naming...)
	if err != nil {
		return nil, nil, protocol.Invalid("%w", err)
	}
	s := &search{other: other, at: at, repository: repository, limits: c.limits, seen: map[v1.Hash]bool{}}
	var subjects []v1.Hash
	for _, m := range of.manifests {
		s.seen[m.descriptor.Digest] = true
		if m.descriptor.Annotations[ocilayout.Attestation] == "" {
			subjects = append(subjects, m.descriptor.Digest)
		}
	}
	for depth := 0; len(subjects) > 0 && depth < s.limits.depth; depth++ {
		before := len(s.found)
		if err := s.of(ctx, subjects); err != nil {
			return nil, nil, other.fail(ctx, "read what refers to "+repository.Digest(image.Digest).Name(), err)
		}
		subjects = nil
		for _, one := range s.found[before:] {
			subjects = append(subjects, one.root().descriptor.Digest)
		}
	}
	return s.found, s.left, nil
}

// of finds what refers to the digests: it lists side by side, and reads in their order.
func (s *search) of(ctx context.Context, subjects []v1.Hash) error {
	lists := make([][]listed, len(subjects))
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, subject := range subjects {
		group.Go(func() (err error) {
			lists[i], err = s.list(running, subject)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, one := range slices.Concat(lists...) {
		if err := s.add(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// list are the artifacts that refer to a digest. A registry that knows no referrers, or
// shows them to nobody, has none.
func (s *search) list(ctx context.Context, subject v1.Hash) ([]listed, error) {
	var all []listed
	index, err := remote.Referrers(s.repository.Digest(subject.String()), remote.Reuse(s.other.puller), remote.WithContext(ctx))
	if err == nil {
		var manifest *v1.IndexManifest
		if manifest, err = index.IndexManifest(); err == nil {
			for _, d := range manifest.Manifests {
				all = append(all, listed{Descriptor: d})
			}
		}
	}
	if err = s.mayLack(err, "referrers of "+subject.String()); err != nil {
		return nil, err
	}
	for _, end := range cosignTags {
		tag := s.repository.Tag(strings.Replace(subject.String(), ":", "-", 1) + end)
		d, err := s.other.puller.Head(ctx, tag)
		switch {
		case err == nil:
			all = append(all, listed{*d, tag.TagStr()})
		case !isNotFound(err):
			if err := s.mayLack(err, tag.TagStr()); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// mayLack passes over the answer of a registry that does not tell what there is.
func (s *search) mayLack(err error, what string) error {
	if !auth.HasStatus(err, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented) {
		return err
	}
	s.leave("%s: the registry does not tell whether there are any: %v", what, err)
	return nil
}

func (s *search) leave(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = append(s.left, fmt.Sprintf(format, args...))
}

// add reads the manifests of an artifact. One that is listed and gone, is of an unknown
// type or over the limits is left out.
func (s *search) add(ctx context.Context, one listed) error {
	if s.seen[one.Digest] {
		s.tag(one)
		return nil
	}
	s.seen[one.Digest] = true
	if len(s.found) >= s.limits.artifacts {
		s.leave("%s: more than %d artifacts", one.Digest, s.limits.artifacts)
		return nil
	}
	if !one.MediaType.IsImage() && !one.MediaType.IsIndex() {
		s.leave("%s: it is of the unknown type %q", one.Digest, one.MediaType)
		return nil
	}
	content, err := ocilayout.ReadFrom(s.at, one.Descriptor, func(d v1.Descriptor) ([]byte, error) {
		got, err := s.other.puller.Get(ctx, s.repository.Digest(d.Digest.String()))
		if err != nil {
			return nil, err
		}
		return got.Manifest, nil
	})
	if isNotFound(err) {
		s.leave("%s: it is listed, and does not exist", one.Digest)
		return nil
	}
	if err != nil {
		return err
	}
	made := referrer{artifact: artifactOf(content)}
	if size := made.size(); s.bytes+size > s.limits.bytes {
		s.leave("%s: the artifacts have more than %d MiB", one.Digest, s.limits.bytes>>20)
		return nil
	}
	s.bytes += made.size()
	s.found = append(s.found, made)
	s.tag(one)
	return nil
}

// tag notes the tag of an artifact that comes along.
func (s *search) tag(one listed) {
	i := slices.IndexFunc(s.found, func(r referrer) bool { return r.root().descriptor.Digest == one.Digest })
	if i >= 0 && one.tag != "" && !slices.Contains(s.found[i].tags, one.tag) {
		s.found[i].tags = append(s.found[i].tags, one.tag)
	}
}

// attach puts the manifests of an artifact beside the image that it refers to, whose blobs
// are there. A tag that holds something else stays: it may be a signature of one's own.
func (c *client) attach(ctx context.Context, tag name.Tag, one referrer) (kept []string, err error) {
	if err := c.putAll(ctx, tag, one.manifests); err != nil {
		return nil, err
	}
	for _, text := range one.tags {
		at := tag.Repository.Tag(text)
		held, err := c.held(ctx, at)
		switch digest := one.root().descriptor.Digest.String(); {
		case err != nil && !isRefused(err):
			return nil, c.fail(ctx, "look for "+at.Name(), err)
		case held == digest:
			continue
		case held != "":
			kept = append(kept, fmt.Sprintf("the tag %s of %s: %s holds another one, which stays", text, digest, tag.RepositoryStr()))
			continue
		}
		if err := c.put(ctx, at, one.root()); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// mirror copies an image of another repository, and what refers to it. The tag comes
// last: a copy that was interrupted is made again.
func (r imageRegistry) mirror(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef, tag name.Tag) error {
	content, err := r.abroad(ctx, image)
	if err != nil {
		return err
	}
	with, left, err := r.referrers(ctx, image, content)
	if err != nil {
		return err
	}
	kept, err := r.push(ctx, app.Metadata, tag, content, with...)
	if err != nil {
		return err
	}
	tell := func(format string, args ...any) {
		r.env.Progress(protocol.Event{Metadata: app.Metadata, Phase: protocol.PhaseExplain, Message: fmt.Sprintf(format, args...)})
	}
	switch len(with) {
	case 0:
	case 1:
		tell("copied with %s: 1 artifact that refers to it", app.Image.Ref)
	default:
		tell("copied with %s: %d artifacts that refer to it", app.Image.Ref, len(with))
	}
	left = append(left, kept...)
	for i, text := range left {
		if i == maxLeft {
			tell("not copied with %s: %d more", app.Image.Ref, len(left)-i)
			break
		}
		tell("not copied with %s: %s", app.Image.Ref, text)
	}
	return nil
}
