package daemonless

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/build/layout"
	"github.com/nationtech/harmony/internal/registryauth"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// attempts is how often an image is made again because its input changed
// meanwhile.
const attempts = 3

// Builder makes images without a daemon. It is safe for use by several
// goroutines.
type Builder struct {
	env      capability.Environment
	store    layout.Store
	registry registry
	created  time.Time
}

// recipe is how one kind of image source becomes an image.
type recipe interface {
	// InputDigest is the digest of everything that the image is made from. Each
	// call looks at it anew.
	InputDigest(ctx context.Context) (string, error)
	// Make writes the images of all platforms, in their order, into the draft.
	// It makes what the last InputDigest looked at.
	Make(ctx context.Context, draft *layout.Draft) ([]ocispec.Descriptor, error)
}

// New makes the adapter. It has no settings. The time that images tell is
// SOURCE_DATE_EPOCH, in seconds, where the environment has it, and 1970
// otherwise; a malformed one is an error of status protocol.ExitInvalid.
func New(_ context.Context, env capability.Environment) (capability.ContainerBuilder, error) {
	for name := range env.Provider.Settings {
		return nil, protocol.Invalid("topology %q: containerBuilder: settings.%s: the adapter daemonless has no settings", env.Topology.Name, name)
	}
	created, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return nil, err
	}
	return &Builder{
		env:      env,
		store:    layout.Store{Dir: env.Cache},
		registry: registry{cache: filepath.Join(env.Cache, ".bases"), keychain: registryauth.Keychain()},
		created:  created,
	}, nil
}

func sourceDate(text string) (time.Time, error) {
	if text == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<33 {
		return time.Time{}, protocol.Invalid("SOURCE_DATE_EPOCH=%q is not a number of seconds since 1970", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// BuildImage implements [capability.ContainerBuilder]. The image is an OCI
// layout in the cache; it is Unchanged when it was there before.
func (b *Builder) BuildImage(ctx context.Context, app protocol.AppSpec) (protocol.ImageRef, error) {
	if !protocol.ValidName(app.Name) {
		return protocol.ImageRef{}, protocol.Invalid("%q is not an app's name", app.Name)
	}
	platforms, err := parsePlatforms(app.Image.Platforms)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	r, err := b.recipe(app, platforms)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	ref := protocol.ImageRef{
		Metadata:   app.Metadata,
		Repository: cmp.Or(app.Image.Repository, app.Name),
		Tag:        protocol.TagOf(app.Version),
		Location:   protocol.InLayout,
	}
	for range attempts {
		input, err := r.InputDigest(ctx)
		if err != nil {
			return protocol.ImageRef{}, err
		}
		ref.InputDigest, ref.Planned = input, b.env.DryRun
		if image, found := b.store.Find(app.Name, input); found {
			ref.Unchanged = true
			return located(ref, image)
		}
		if b.env.DryRun {
			for _, p := range platforms {
				ref.Platforms = append(ref.Platforms, layout.PlatformString(p))
			}
			ref.Location = ""
			return ref, nil
		}
		image, err := b.make(ctx, app.Name, r, input)
		if err == nil {
			return located(ref, image)
		}
		if !errors.Is(err, errChanged) {
			return protocol.ImageRef{}, err
		}
	}
	return protocol.ImageRef{}, protocol.Retryable("%s: %w, %d times", app.Name, errChanged, attempts).
		WithHint("run it again when nothing writes to %s", app.ProjectRoot)
}

func located(ref protocol.ImageRef, image layout.Image) (protocol.ImageRef, error) {
	path, err := filepath.Abs(image.Path)
	ref.Path, ref.Digest, ref.Platforms = path, image.Digest, image.Platforms
	return ref, err
}

var errChanged = errors.New("sources changed during the build")

// make builds the image and keeps it, but only if the input is still the one
// that it is kept under.
func (b *Builder) make(ctx context.Context, app string, r recipe, input string) (_ layout.Image, err error) {
	draft, err := b.store.Begin(app)
	if err != nil {
		return layout.Image{}, err
	}
	defer func() { err = errors.Join(err, draft.Discard()) }()
	images, err := r.Make(ctx, draft)
	if err != nil {
		return layout.Image{}, err
	}
	now, err := r.InputDigest(ctx)
	if err != nil {
		return layout.Image{}, err
	}
	if now != input {
		return layout.Image{}, errChanged
	}
	image, err := draft.Commit(input, images)
	return image, errors.Join(err, b.registry.prune(), inputs.Prune(b.memory(app)))
}

// memory is where the recipes of an app remember what they looked at.
func (b *Builder) memory(app string) string { return filepath.Join(b.env.Cache, app, "inputs") }

func (b *Builder) recipe(app protocol.AppSpec, platforms []ocispec.Platform) (recipe, error) {
	memory := b.memory(app.Name)
	progress := func(phase, format string, args ...any) {
		b.env.Progress(protocol.Event{Metadata: app.Metadata, Phase: phase, Message: fmt.Sprintf(format, args...)})
	}
	if err := checkPaths(app); err != nil {
		return nil, err
	}
	switch source := app.Image; {
	case source.Dockerfile != nil:
		return b.dockerfile(app, platforms, memory, progress), nil
	case source.Buildable != nil && source.Buildable.Type == "go":
		return b.golang(app, platforms, memory, progress), nil
	case source.Buildable != nil:
		return nil, protocol.Unsupported("buildable of type %q: the adapter daemonless has go only", source.Buildable.Type)
	}
	return nil, protocol.Invalid("%s: image needs dockerfile or buildable", app.Name)
}

// checkPaths holds the source inside of the project.
func checkPaths(app protocol.AppSpec) error {
	if !filepath.IsAbs(app.ProjectRoot) {
		return protocol.Invalid("%s: projectRoot %q is not absolute", app.Name, app.ProjectRoot)
	}
	var paths []string
	if d := app.Image.Dockerfile; d != nil {
		paths = append(paths, d.Path, d.Context)
	}
	if b := app.Image.Buildable; b != nil {
		paths = append(paths, b.Main)
	}
	for _, path := range paths {
		if path != "" && !filepath.IsLocal(path) {
			return protocol.Invalid("%s: image: the path %q leads out of the project", app.Name, path)
		}
	}
	return nil
}

// parsePlatforms reads os/arch[/variant], sorted; linux on this machine's
// architecture when there are none.
func parsePlatforms(names []string) ([]ocispec.Platform, error) {
	if len(names) == 0 {
		return []ocispec.Platform{{OS: "linux", Architecture: runtime.GOARCH}}, nil
	}
	var platforms []ocispec.Platform
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		p, err := parsePlatform(name)
		if err != nil {
			return nil, err
		}
		platforms = append(platforms, p)
	}
	return platforms, nil
}

func parsePlatform(name string) (ocispec.Platform, error) {
	parts := strings.Split(name, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return ocispec.Platform{}, protocol.Invalid("platform %q is not os/arch, for example linux/amd64", name)
	}
	p := ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	if p.OS != "linux" {
		return p, protocol.Unsupported("platform %s: the adapter daemonless makes linux images only", name)
	}
	return p, nil
}
