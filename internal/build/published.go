package build

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/project/version"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// patience is how long to wait for the registry before the image is simply built.
const patience = 10 * time.Second

// published finds images in the topology's registry by their input.
type published struct {
	host, prefix string
	// vouched is the repository whose images a release may take; empty when
	// there is none.
	vouched string
	guard   *auth.Guard
	naming  []name.Option
}

// openPublished is nil for a topology whose images are in no registry that can
// be asked.
func openPublished(p *protocol.Provider) (*published, error) {
	if p == nil {
		return nil, nil
	}
	vouched, err := p.Vouched()
	if err != nil {
		return nil, err
	}
	if p.Adapter != "oci" || strings.Trim(p.URL, "/") == "" {
		return nil, nil
	}
	r := &published{vouched: vouched}
	r.host, r.prefix, _ = strings.Cut(strings.Trim(p.URL, "/"), "/")
	r.guard = &auth.Guard{Host: r.host, Insecure: p.Insecure}
	r.naming = auth.Naming(p.Insecure)
	if _, err := name.NewRegistry(r.host, r.naming...); err != nil {
		return nil, protocol.Invalid("topology: spec.ociRegistry.url %q: %w", p.URL, err)
	}
	return r, nil
}

// places are where the image may be taken from. A development version takes any image
// of the input. A release takes what is already published under its own version, what
// this machine built, which has the digest own, and what the topology vouches for.
func (r *published) places(image protocol.ImageRef, own string) []string {
	repository := r.host + "/" + strings.TrimPrefix(r.prefix+"/"+image.Repository, "/")
	inputs := repository
	if r.vouched != "" {
		inputs = r.host + "/" + r.vouched
	}
	inputs += ":" + protocol.InputTag(image.InputDigest)
	if v, err := semver.StrictNewVersion(image.Version); err == nil && version.IsDevelopment(*v) {
		return []string{inputs}
	}
	var places []string
	if image.Version != "" {
		places = append(places, repository+":"+protocol.TagOf(image.Version))
	}
	if own != "" {
		places = append(places, repository+"@"+own)
	}
	if r.vouched != "" {
		places = append(places, inputs)
	}
	return places
}

// errOther is the error of an image of another input or platform.
var errOther = errors.New("it is another image")

// find asks for one place. The digest is empty if there is no image. No layer is
// downloaded.
func (r *published) find(ctx context.Context, at name.Reference, input string, platforms []ocispec.Platform) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got, err := remote.Get(at, auth.Through(r.guard, remote.WithContext(ctx), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))...)
	switch {
	case auth.HasStatus(err, http.StatusNotFound):
		return "", nil
	case err != nil:
		return "", err
	}
	images, err := imagesOf(got)
	if err != nil {
		return "", err
	}
	return got.Digest.String(), compare(images, input, platforms)
}

// imagesOf are the image of a manifest or those of an index, without attestations.
func imagesOf(got *remote.Descriptor) ([]v1.Image, error) {
	if !got.MediaType.IsIndex() {
		image, err := got.Image()
		return []v1.Image{image}, err
	}
	index, err := got.ImageIndex()
	if err != nil {
		return nil, err
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var images []v1.Image
	for _, m := range list.Manifests {
		if m.Platform != nil && m.Platform.OS == "unknown" {
			continue
		}
		image, err := index.Image(m.Digest)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}

// compare checks images against the input and the platforms: anybody may have set the
// tag, to anything.
func compare(images []v1.Image, input string, platforms []ocispec.Platform) error {
	var has []string
	for _, image := range images {
		manifest, err := image.Manifest()
		if err != nil {
			return err
		}
		if said := manifest.Annotations[protocol.InputAnnotation]; said != input {
			return fmt.Errorf("%w: its annotation %s is %q", errOther, protocol.InputAnnotation, said)
		}
		config, err := image.ConfigFile()
		if err != nil {
			return err
		}
		has = append(has, ocilayout.PlatformString(ocispec.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}))
	}
	return comparePlatforms(has, platforms)
}

func comparePlatforms(has []string, want []ocispec.Platform) error {
	left := slices.Clone(want)
	for _, text := range has {
		p, err := dockerfile.ParsePlatform(text) // by the name that it has among those wanted
		i := slices.IndexFunc(left, func(wanted ocispec.Platform) bool {
			return ocilayout.PlatformString(wanted) == ocilayout.PlatformString(p)
		})
		if err != nil || i < 0 {
			return fmt.Errorf("%w: it is for %s", errOther, strings.Join(has, ", "))
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		return fmt.Errorf("%w: it is not for %s", errOther, ocilayout.PlatformString(left[0]))
	}
	return nil
}

// findPublished looks for the image in the registry. A registry that does not
// answer only costs a build.
func (j *job) findPublished(ctx context.Context, ref protocol.ImageRef) (protocol.ImageRef, bool, error) {
	if j.published == nil {
		return ref, false, nil
	}
	for _, place := range j.published.places(ref, j.built(ref.InputDigest)) {
		at, err := name.ParseReference(place, j.published.naming...)
		if err != nil {
			return ref, false, protocol.Invalid("%w", err)
		}
		sum, err := j.published.find(ctx, at, ref.InputDigest, j.platforms)
		switch {
		case ctx.Err() != nil:
			return ref, false, fmt.Errorf("look for the image in %s: %w", j.published.host, ctx.Err())
		case errors.Is(err, errOther):
			j.tell("look", "%s is not used: %v", place, err)
		case err != nil:
			j.tell("look", "%s was not asked whether it has the image: %v", j.published.host, err)
			return ref, false, nil
		case sum != "":
			ref.Registry, ref.Repository, ref.Digest = j.published.host, at.Context().RepositoryStr(), sum
			ref.Location, ref.Insecure, ref.Unchanged = protocol.InRegistry, j.published.guard.Plain(), true
			j.explainFound(ref)
			return ref, true, nil
		}
	}
	return ref, false, nil
}

func (j *job) builtFile(input string) string {
	return filepath.Join(j.memory, "built-"+strings.TrimPrefix(input, "sha256:"))
}

// built is the digest of the image that this machine made of the input; empty
// when it made none, or a daemon has it.
func (j *job) built(input string) string {
	data, err := os.ReadFile(j.builtFile(input))
	sum := digest.Digest(data)
	if err != nil || sum.Validate() != nil {
		return ""
	}
	return sum.String()
}

// keepBuilt remembers it. A memory that cannot be written only costs a build.
func (j *job) keepBuilt(ref protocol.ImageRef) {
	if ref.Digest != "" && ref.InputDigest != "" && os.MkdirAll(j.memory, 0o700) == nil {
		_ = os.WriteFile(j.builtFile(ref.InputDigest), []byte(ref.Digest), 0o600)
	}
}

// inspect makes sure that what the backend found is the image that was made: its
// platforms, and every blob of a layout.
func (j *job) inspect(image protocol.ImageRef) error {
	if len(image.Platforms) > 0 {
		if err := comparePlatforms(image.Platforms, j.platforms); err != nil {
			return err
		}
	}
	if image.Location != protocol.InLayout {
		return nil
	}
	digests := inputs.OpenDigests(filepath.Join(j.memory, "layout.digests"))
	err := ocilayout.Verify(image.Path, digests.File)
	digests.Save()
	return err
}
