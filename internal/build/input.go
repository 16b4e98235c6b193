package build

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// format is part of every input digest. It must change with anything that makes a
// different image of the same input.
const format = "2"

// Kinds of items besides those of package inputs.
const (
	kindDockerfile = "Dockerfile"
	kindSecret     = "secret"
	kindSSH        = "ssh"
)

// input is everything that an image is made from, at one time.
type input struct {
	context Context
	items   []inputs.Item
	bases   map[string]digest.Digest
	takes   []dockerfile.Take
	digest  string
	// known is false if the digest of a base image could not be looked up: no image
	// can be found by such an input.
	known bool
}

// look works out the current input. What the backend cannot build is refused before
// anything else is read.
func (j *job) look(ctx context.Context) (input, error) {
	c, files, err := j.source.Inputs(ctx)
	if err != nil {
		return input{}, err
	}
	images, err := j.images(c)
	if err != nil {
		return input{}, err
	}
	if err := j.backend.Check(ctx, Request{App: j.app, Context: c, Platforms: j.platforms, Created: j.created, NoCache: j.flags.NoCache}); err != nil {
		return input{}, err
	}
	in := input{context: c, items: append(j.settings(), contextItems(c)...), known: true}
	var known map[string]*dockerfile.Base
	if in.bases, known, err = j.resolve(ctx, c.Name, images); err != nil {
		return input{}, err
	}
	takes, err := j.takes(ctx, c, in.bases, known)
	if err != nil {
		return input{}, err
	}
	in.takes = takes[""]
	if project, ok := j.source.(*projectSource); ok {
		if files, err = project.files(ctx, takes); err != nil {
			return input{}, err
		}
	}
	for _, image := range images {
		sum, ok := in.bases[image.Name]
		in.known = in.known && ok
		in.items = append(in.items, inputs.Item{Kind: inputs.Base, Name: image.Name, Value: sum.String()})
	}
	if slices.ContainsFunc(files, func(f inputs.Item) bool { return f.Kind == inputs.File && f.Name == ".git/HEAD" }) {
		j.tell("look", ".git is copied into the image, so each commit and fetch makes another one; name it in .dockerignore if the image does not need it")
	}
	in.items = append(in.items, files...)
	in.digest = inputs.Digest(in.items)
	return in, nil
}

// settings are the items that come from neither the source nor its Dockerfile.
func (j *job) settings() []inputs.Item {
	items := []inputs.Item{
		setting("format", format),
		setting("platforms", strings.Join(ocilayout.PlatformStrings(j.platforms), " ")),
		setting("created", strconv.FormatInt(j.created.Unix(), 10)),
	}
	options := j.backend.Options()
	for _, name := range slices.Sorted(maps.Keys(options)) {
		items = append(items, setting("option "+name, options[name]))
	}
	return items
}

// contextItems are the Dockerfile and its settings. The values of arguments appear
// as digests, those of secrets not at all.
func contextItems(c Context) []inputs.Item {
	items := []inputs.Item{{Kind: kindDockerfile, Name: c.Name, Value: digest.FromBytes(c.Text).Encoded(), Path: c.Dockerfile}, setting("target", c.Target)}
	for _, name := range slices.Sorted(maps.Keys(c.Args)) {
		items = append(items, inputs.Item{Kind: inputs.Arg, Name: name, Value: digest.FromString(c.Args[name]).Encoded()})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Contexts)) {
		value := c.Contexts[name]
		if filepath.IsAbs(value) {
			value = "folder" // its files are items of their own
		}
		items = append(items, setting("context "+name, value))
	}
	for _, s := range c.Secrets {
		items = append(items, inputs.Item{Kind: kindSecret, Name: s.ID})
	}
	for _, s := range c.SSH {
		items = append(items, inputs.Item{Kind: kindSSH, Name: s.ID})
	}
	return items
}

func setting(name, value string) inputs.Item {
	return inputs.Item{Kind: inputs.Setting, Name: name, Value: value}
}

// images are the base images on any of the platforms, sorted.
func (j *job) images(c Context) ([]dockerfile.Image, error) {
	file, err := dockerfile.Parse(c.Name, c.Text)
	if err != nil {
		return nil, err
	}
	var all []dockerfile.Image
	for _, platform := range j.platforms {
		images, err := file.Images(platform, c)
		if err != nil {
			return nil, err
		}
		all = append(all, images...)
	}
	slices.SortStableFunc(all, func(a, b dockerfile.Image) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(all, func(a, b dockerfile.Image) bool { return a.Name == b.Name }), nil
}

// takes are what the Dockerfile takes of its contexts on any of the platforms.
func (j *job) takes(ctx context.Context, c Context, bases map[string]digest.Digest, known map[string]*dockerfile.Base) (map[string][]dockerfile.Take, error) {
	all := map[string][]dockerfile.Take{}
	for _, platform := range j.platforms {
		file, err := dockerfile.Parse(c.Name, c.Text) // again: Takes expands it
		if err != nil {
			return nil, err
		}
		takes, err := file.Takes(c, platform, func(name string, p ocispec.Platform) (*dockerfile.Base, error) {
			if base, ok := known[name]; ok || bases[name] == "" {
				return base, nil
			}
			image, err := j.bases.Resolve(ctx, name, bases[name], p)
			switch {
			case err == nil:
				return &dockerfile.Base{Env: image.Config.Config.Env, OnBuild: image.Config.Config.OnBuild}, nil
			case protocol.ExitCode(err) == protocol.ExitInvalid, protocol.ExitCode(err) == protocol.ExitUnsupported:
				return nil, nil // the builder may take it all the same
			}
			return nil, err
		})
		if err != nil {
			return nil, err
		}
		for name, more := range takes {
			all[name] = append(all[name], more...)
		}
	}
	return all, nil
}

// resolve looks up the digests of images, and the configurations of those that the
// builder has. Images that only the builder may know are left out.
func (j *job) resolve(ctx context.Context, file string, images []dockerfile.Image) (map[string]digest.Digest, map[string]*dockerfile.Base, error) {
	found, known := map[string]digest.Digest{}, map[string]*dockerfile.Base{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, image := range images {
		group.Go(func() error {
			sum, base, err := j.baseDigest(ctx, image.Name)
			if err != nil {
				return dockerfile.Locate(file, image.Line, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if sum != "" {
				found[image.Name] = sum
			}
			if base != nil {
				known[image.Name] = base
			}
			return nil
		})
	}
	return found, known, group.Wait()
}

func (j *job) baseDigest(ctx context.Context, name string) (digest.Digest, *dockerfile.Base, error) {
	finder, ok := j.backend.(BaseFinder)
	if ok {
		sum, base, err := finder.FindBase(ctx, name)
		if err != nil || base != nil {
			return sum, base, err
		}
	}
	j.tell("resolve", "%s", name)
	sum, err := j.bases.Digest(ctx, name)
	if err == nil || !ok || ctx.Err() != nil {
		return sum, nil, err
	}
	j.tell("resolve", "%v; whether the image is up to date cannot be known, so it is built", err)
	return "", nil, nil
}
