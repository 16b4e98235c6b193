package prune

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

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

	seen   map[string][]string // digests of tags, first their own
	harbor map[string]bool     // repositories in a Harbor
}

// guard is the way to the registry of a repository.
func (r *Registry) guard(at name.Repository) *auth.Guard {
	return &auth.Guard{Host: at.RegistryStr(), Insecure: r.Insecure, Inner: r.Transport}
}

func (r *Registry) list(ctx context.Context, repository name.Repository) (*remote.Puller, []string, error) {
	if r.seen == nil {
		r.seen, r.harbor = map[string][]string{}, map[string]bool{}
	}
	puller, err := remote.NewPuller(auth.Through(r.guard(repository))...)
	if err != nil {
		return nil, nil, err
	}
	tags, err := puller.List(ctx, repository)
	if err != nil && !notFound(err) { // which some answer for one without tags
		return nil, nil, auth.Classify(err)
	}
	return puller, tags, nil
}

// entries reads the development versions, the input tags and what has no tag of a
// repository, and the digests that other tags hold, those of an index's parts too.
func (r *Registry) entries(ctx context.Context, in Repository) (entries []Entry, others map[string]string, err error) {
	repository, err := name.NewRepository(in.Name, auth.Naming(r.Insecure)...)
	if err != nil {
		return nil, nil, protocol.Invalid("%w", err)
	}
	puller, tags, err := r.list(ctx, repository)
	if err != nil {
		return nil, nil, err
	}
	others = map[string]string{}
	for _, tag := range tags {
		got, err := puller.Get(ctx, repository.Tag(tag))
		if notFound(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, nil, auth.Classify(err)
		}
		e := Entry{Repository: in.Name, Tag: tag, Digest: got.Digest.String(), version: develops(tag)}
		if e.parts, e.Created, err = describe(got); err != nil {
			return nil, nil, err
		}
		digests := append([]string{e.Digest}, e.parts...)
		r.seen[repository.Tag(tag).Name()] = digests
		if e.version == nil && !strings.HasPrefix(tag, inputPrefix) {
			for _, digest := range digests {
				others[digest] = tag
			}
			continue
		}
		if e.Created == nil && e.version != nil {
			e.Created = commitTime(ctx, in.Folder, e.version.Prerelease())
		}
		entries = append(entries, e)
	}
	untagged, err := r.untagged(ctx, repository)
	return append(entries, untagged...), others, err
}

// describe reads the parts of an index and the time in a manifest. Images that
// are made reproducibly have 1970, which is no time.
func describe(got *remote.Descriptor) (parts []string, created *time.Time, err error) {
	if got.MediaType.IsIndex() {
		index, err := v1.ParseIndexManifest(bytes.NewReader(got.Manifest))
		if err != nil {
			return nil, nil, err
		}
		for _, m := range index.Manifests {
			parts = append(parts, m.Digest.String())
		}
		return parts, createdAt(index.Annotations), nil
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(got.Manifest))
	if err != nil {
		return nil, nil, err
	}
	if created := createdAt(manifest.Annotations); created != nil {
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
		return nil, nil, auth.Classify(err)
	}
	return nil, known(config.Created.Time), nil
}

func createdAt(annotations map[string]string) *time.Time {
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

// remove deletes the entries, which have one digest, with their parts. It leaves
// what another tag than those that are going has by now, and returns that tag.
func (r *Registry) remove(ctx context.Context, group []*Entry, going map[string]bool) (by string, err error) {
	repository, err := name.NewRepository(group[0].Repository, auth.Naming(r.Insecure)...)
	if err != nil {
		return "", err
	}
	held, err := r.held(ctx, repository, going)
	if by := held[group[0].Digest]; by != "" || err != nil {
		return by, err
	}
	digests := []string{group[0].Digest}
	for _, e := range group {
		digests = append(digests, e.manifest...)
		if e.Tag == "" || r.harbor[repository.Name()] { // which deletes what a tag names
			continue
		}
		if err := r.delete(ctx, repository.Tag(e.Tag)); protocol.ExitCode(err) == protocol.ExitRetryable {
			return "", err // else it cannot delete a tag alone
		}
	}
	held, err = r.held(ctx, repository, going)
	if by := held[group[0].Digest]; by != "" || err != nil {
		return by, err
	}
	for _, digest := range digests {
		if held[digest] != "" {
			continue
		}
		if err := r.delete(ctx, repository.Digest(digest)); err != nil {
			return "", err
		}
	}
	return "", nil
}

// held are the digests that the tags of a repository name now, with an index's
// parts, each with one of its tags. Those that are going do not count.
func (r *Registry) held(ctx context.Context, repository name.Repository, going map[string]bool) (map[string]string, error) {
	puller, tags, err := r.list(ctx, repository)
	if err != nil {
		return nil, err
	}
	held := map[string]string{}
	for _, tag := range tags {
		ref := repository.Tag(tag)
		if going[ref.Name()] {
			continue
		}
		digests, err := r.digests(ctx, puller, ref)
		if err != nil {
			return nil, err
		}
		for _, digest := range digests {
			held[digest] = tag
		}
	}
	return held, nil
}

// digests are those of a tag, as they were seen unless it is new or has moved.
func (r *Registry) digests(ctx context.Context, puller *remote.Puller, ref name.Tag) ([]string, error) {
	seen := r.seen[ref.Name()]
	if len(seen) > 0 {
		if head, err := puller.Head(ctx, ref); err == nil && head.Digest.String() == seen[0] {
			return seen, nil
		}
	}
	got, err := puller.Get(ctx, ref)
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, auth.Classify(err)
	}
	parts, _, err := describe(got)
	return append([]string{got.Digest.String()}, parts...), err
}

func (r *Registry) delete(ctx context.Context, ref name.Reference) error {
	err := remote.Delete(ref, auth.Through(r.guard(ref.Context()), remote.WithContext(ctx))...)
	if err == nil || notFound(err) {
		return nil
	}
	return auth.Classify(err)
}

func notFound(err error) bool { return auth.HasStatus(err, http.StatusNotFound) }

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
