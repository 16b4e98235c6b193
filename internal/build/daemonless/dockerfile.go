package daemonless

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/build/layout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxDockerfile bounds what is read of a Dockerfile or an ignore file.
const maxDockerfile = 1 << 20

// dockerfile is the recipe of a Dockerfile.
type dockerfile struct {
	// name is how messages call the file: its path in the project.
	name, path string
	context    string
	spec       protocol.Dockerfile
	platforms  []ocispec.Platform
	created    time.Time
	memory     string
	registry   registry
	progress   progress

	digests *inputs.Digests
	plans   []*state // one for each platform
}

func (b *Builder) dockerfile(app protocol.AppSpec, platforms []ocispec.Platform, memory string, report progress) recipe {
	spec := *app.Image.Dockerfile
	d := &dockerfile{
		context: filepath.Join(app.ProjectRoot, spec.Context), spec: spec, platforms: platforms,
		created: b.created, memory: memory, registry: b.registry, progress: report,
	}
	d.name = spec.Path
	if d.name == "" {
		d.name = filepath.Join(spec.Context, "Dockerfile")
	}
	d.path = filepath.Join(app.ProjectRoot, d.name)
	return d
}

// InputDigest evaluates the Dockerfile for each platform: what the instructions
// come to, which base images they name, and which files they take.
func (d *dockerfile) InputDigest(ctx context.Context) (string, error) {
	data, err := readSmall(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", protocol.Invalid("%s: no such file", d.name)
	}
	if err != nil {
		return "", protocol.Invalid("%s: %w", d.name, err)
	}
	sum := sha256.New()
	if d.digests == nil {
		folder := sha256.Sum256([]byte(d.context))
		d.digests = inputs.OpenDigests(filepath.Join(d.memory, "context-"+hex.EncodeToString(folder[:16])+".digests"))
	}
	source, err := openContext(d.context, d.spec.Context, d.path+".dockerignore")
	if err != nil {
		return "", err
	}
	defer source.Close()
	d.plans = nil
	for _, platform := range d.platforms {
		file, err := parse(d.name, data)
		if err != nil {
			return "", err
		}
		e := evaluator{file: file, recipe: d, platform: platform, source: source}
		plan, err := e.target(ctx, d.spec.Target)
		if err != nil {
			return "", err
		}
		input, err := plan.inputDigest(ctx, d.digests)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s created %d %s\n", layout.PlatformString(platform), d.created.Unix(), input)
		d.plans = append(d.plans, plan)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), d.digests.Save()
}

// Make packs what the plans say.
func (d *dockerfile) Make(ctx context.Context, draft *layout.Draft) ([]ocispec.Descriptor, error) {
	var images []ocispec.Descriptor
	for i, plan := range d.plans {
		d.progress("pack", "%s for %s", d.name, layout.PlatformString(d.platforms[i]))
		m := maker{recipe: d, draft: draft, trees: map[*state]*tree{}}
		image, err := m.image(ctx, plan)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}

// readSmall reads a regular file of at most maxDockerfile bytes.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDockerfile+1))
	if err == nil && len(data) > maxDockerfile {
		err = errors.New("larger than 1 MiB")
	}
	return data, err
}
