package prune

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Registry is where images and charts lie.
type Registry struct {
	// Insecure allows plain http beyond the loopback.
	Insecure bool
	// Transport is that of every registry when nil.
	Transport http.RoundTripper
}

// guard is the way to the registry of a repository.
func (r *Registry) guard(at name.Repository) *auth.Guard {
	return &auth.Guard{Host: at.RegistryStr(), Insecure: r.Insecure, Inner: r.Transport}
}

// entries reads the development versions, the input tags and what has no tag of a
// repository, and the digests that other tags hold, those of an index's parts too.
func (r *Registry) entries(ctx context.Context, in Repository) (entries []Entry, others map[string]string, err error) {
	repository, err := name.NewRepository(in.Name, auth.Naming(r.Insecure)...)
	if err != nil {
		return nil, nil, protocol.Invalid("%w", err)
	}
	puller, err := remote.NewPuller(auth.Through(r.guard(repository))...)
	if err != nil {
		return nil, nil, err
	}
	tags, err := puller.List(ctx, repository)
	if err != nil && !notFound(err) { // which some say of one without tags
		return nil, nil, classify(err)
	}
	others = map[string]string{}
	for _, tag := range tags {
		got, err := puller.Get(ctx, repository.Tag(tag))
		if notFound(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, nil, classify(err)
		}
		e := Entry{Repository: in.Name, Tag: tag, Digest: got.Digest.String(), version: develops(tag)}
		if e.parts, e.Created, err = r.look(got); err != nil {
			return nil, nil, err
		}
		if e.version == nil && !strings.HasPrefix(tag, inputPrefix) {
			for _, digest := range append([]string{e.Digest}, e.parts...) {
				others[digest] = tag
			}
		}
		if e.Created == nil && e.version != nil {
			e.Created = commitTime(ctx, in.Folder, e.version.Prerelease())
		}
		if e.version != nil || strings.HasPrefix(tag, inputPrefix) {
			entries = append(entries, e)
		}
	}
	untagged, err := r.untagged(ctx, repository)
	return append(entries, untagged...), others, err
}

// look reads the parts of an index and the time that a manifest tells. Images
// that are made reproducibly tell 1970, which is no time.
func (r *Registry) look(got *remote.Descriptor) (parts []string, created *time.Time, err error) {
	if got.MediaType.IsIndex() {
		index, err := v1.ParseIndexManifest(bytes.NewReader(got.Manifest))
		if err != nil {
			return nil, nil, err
		}
		for _, m := range index.Manifests {
			parts = append(parts, m.Digest.String())
		}
		return parts, told(index.Annotations), nil
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(got.Manifest))
	if err != nil {
		return nil, nil, err
	}
	if created := told(manifest.Annotations); created != nil {
		return nil, created, nil
	}
	if !got.MediaType.IsImage() || !manifest.Config.MediaType.IsConfig() {
		return nil, nil, nil
	}
	image, err := got.Image()
	if err != nil {
		return nil, nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, nil, classify(err)
	}
	return nil, known(config.Created.Time), nil
}

func told(annotations map[string]string) *time.Time {
	created, err := time.Parse(time.RFC3339, annotations["org.opencontainers.image.created"])
	if err != nil {
		return nil
	}
	return known(created)
}

func known(t time.Time) *time.Time {
	if t.Unix() <= 0 {
		return nil
	}
	return &t
}

func (r *Registry) delete(ctx context.Context, reference string) error {
	digest, err := name.NewDigest(reference, auth.Naming(r.Insecure)...)
	if err != nil {
		return err
	}
	if err := remote.Delete(digest, auth.Through(r.guard(digest.Repository), remote.WithContext(ctx))...); err != nil && !notFound(err) {
		return classify(err)
	}
	return nil
}

func notFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// classify gives an error of a registry its exit status.
func classify(err error) error {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return protocol.Retryable("%w", err)
	}
	if answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= 500 {
		return protocol.Retryable("%w", err)
	}
	return err
}

// commitTime is when the commit of a development version was made, where the
// project's git knows it.
func commitTime(ctx context.Context, folder, prerelease string) *time.Time {
	match := regexp.MustCompile(`(?:^|\.)g([0-9a-f]{7,40})(?:\.|$)`).FindStringSubmatch(prerelease)
	if match == nil || folder == "" {
		return nil
	}
	out, err := process.Output(ctx, process.Command{Args: []string{"git", "-C", folder, "show", "--no-patch", "--format=%ct", match[1] + "^{commit}"}})
	if err != nil {
		return nil // a commit of somebody else's clone: the age is not known
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return nil
	}
	return known(time.Unix(seconds, 0))
}
