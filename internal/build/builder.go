package build

import (
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
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/build/base"
	"github.com/nationtech/harmony/internal/build/buildable"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// attempts is how often an image is made before it is given up because its input keeps
// changing.
const attempts = 3

// contextPrefix begins the names of the folders for contexts.
const contextPrefix = ".context-"

// builder is the ContainerBuilder of a backend. It is safe for use by several
// goroutines.
type builder struct {
	env       capability.Environment
	flags     Flags
	backend   Backend
	bases     base.Registry
	published *published // nil without a registry to look in
	created   time.Time
	// unstamped is set where the inputs are only listed, without a version.
	unstamped bool
	// together is set where nothing changes while inputs are listed.
	together *buildable.Together
}

// New makes a ContainerBuilder that has the backend build only what neither it nor the
// topology's registry has. The creation time of images is SOURCE_DATE_EPOCH, in
// seconds, if the environment has it, else 1970; a malformed one is an error of status
// protocol.ExitInvalid.
func New(env capability.Environment, flags *Flags, backend Backend) (capability.ContainerBuilder, error) {
	created, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return nil, err
	}
	b := &builder{env: env, backend: backend, bases: Bases(env), created: created}
	if flags != nil {
		b.flags = *flags
	}
	b.published, err = openPublished(env.Topology.OCIRegistry)
	return b, err
}

// Bases reads base images; all adapters of a stage share its cache.
func Bases(env capability.Environment) base.Registry {
	r := base.Registry{Cache: filepath.Join(env.Cache, ".bases")}
	if p := env.Topology.OCIRegistry; p != nil && p.Insecure {
		r.Insecure, _, _ = strings.Cut(p.URL, "/")
	}
	return r
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

var errChanged = errors.New("sources changed during the build")

// BuildImage implements [capability.ContainerBuilder]. The image is Unchanged
// when it was there before. One that exists is only looked up.
func (b *builder) BuildImage(ctx context.Context, app protocol.AppSpec) (ref protocol.ImageRef, err error) {
	if app.Image.Ref != "" {
		return b.existing(ctx, app)
	}
	j, err := b.open(app)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	for range attempts {
		ref, err := j.attempt(ctx)
		if !errors.Is(err, errChanged) && !errors.Is(err, dockerfile.ErrChanged) {
			return ref, err
		}
	}
	return protocol.ImageRef{}, protocol.Retryable("%s: %w, %d times", app.Name, errChanged, attempts).
		WithHint("run it again when nothing writes to %s", app.ProjectRoot)
}

// open reads the AppSpec, which is valid, and nothing on disk.
func (b *builder) open(app protocol.AppSpec) (*job, error) {
	if !filepath.IsAbs(app.ProjectRoot) {
		return nil, protocol.Invalid("%s: projectRoot %q is not absolute", app.Name, app.ProjectRoot)
	}
	platforms, err := parsePlatforms(app.Image.Platforms)
	if err != nil {
		return nil, err
	}
	j := &job{builder: b, app: app, platforms: platforms, memory: filepath.Join(b.env.Cache, app.Name, "inputs")}
	if app.Image.Dockerfile != nil {
		j.source, err = openProject(app, j.memory)
	} else {
		j.source, err = buildable.Open(buildable.Options{
			App: app, Platforms: platforms, Created: b.created, Memory: j.memory, DryRun: b.env.DryRun, Unstamped: b.unstamped, Together: b.together, Finder: lock.Finder(os.Getenv("PATH")),
			Digest: b.bases.Digest, Progress: func(phase, message string) { j.tell(phase, "%s", message) },
		})
	}
	return j, err
}

// parsePlatforms reads platforms, each once and sorted; linux on this machine's
// architecture when there are none.
func parsePlatforms(names []string) ([]ocispec.Platform, error) {
	if len(names) == 0 {
		return []ocispec.Platform{{OS: "linux", Architecture: runtime.GOARCH}}, nil
	}
	var platforms []ocispec.Platform
	for _, name := range names {
		p, err := dockerfile.ParsePlatform(name)
		if err != nil {
			return nil, err
		}
		platforms = append(platforms, p)
	}
	slices.SortFunc(platforms, func(a, b ocispec.Platform) int {
		return strings.Compare(ocilayout.PlatformString(a), ocilayout.PlatformString(b))
	})
	return slices.CompactFunc(platforms, func(a, b ocispec.Platform) bool {
		return ocilayout.PlatformString(a) == ocilayout.PlatformString(b)
	}), nil
}

func (j *job) tell(phase, format string, args ...any) {
	j.env.Progress(protocol.Event{Metadata: j.app.Metadata, Phase: phase, Message: fmt.Sprintf(format, args...)})
}

// abandoned is how old a context is that no run can still be using.
const abandoned = 24 * time.Hour

// prune forgets what was not used for long, and removes the contexts that killed runs
// left behind.
func (j *job) prune() error {
	contexts := cachedir.Prune(filepath.Join(j.env.Cache, j.app.Name), contextPrefix+"*", 0, abandoned)
	return errors.Join(inputs.Prune(j.memory), j.bases.Prune(), contexts)
}

// Flags are those of harmony build, besides the ones that every stage has.
type Flags struct {
	// NoCache rebuilds everything, ignoring caches.
	NoCache bool
	// Explain says why an app is rebuilt, or where its image was found.
	Explain bool
}

// Bind adds the flags to those of a command.
func (f *Flags) Bind(set *pflag.FlagSet) {
	set.BoolVar(&f.NoCache, "no-cache", false, "rebuild everything, ignoring caches")
	set.BoolVar(&f.Explain, "explain", false, "explain why an app is rebuilt, or where its image was found")
}
