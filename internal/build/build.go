// Package build is what the adapters of ContainerBuilder have in common. It
// turns an app's image source into a Dockerfile and a context, finds out
// whether the image exists already, and has a [Backend] build it if not.
package build

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Backend builds images: what differs between the adapters. It is used by
// several goroutines.
type Backend interface {
	// Options are the settings that make a different image of the same source, by
	// name. They are part of the input digest.
	Options() map[string]string
	// Check refuses, with status protocol.ExitUnsupported, what this backend
	// cannot build. It needs neither network nor builder. The Context has the text
	// and settings of the Dockerfile, and perhaps no folders yet.
	Check(ctx context.Context, r Request) error
	// Find returns the image that an earlier Build made of the same input, where
	// the backend keeps images, for example a layout in the cache or an image in
	// a daemon. The Context is as for Check. It fills in Digest, Platforms,
	// Location and Path, and Registry and Repository if they are others than
	// those of the app.
	Find(ctx context.Context, r Request) (image protocol.ImageRef, found bool, err error)
	// Build makes the image. It fills in Digest, Platforms, Location and Path of
	// the reference that it gets, and Registry if the image is there. A failed or
	// cancelled build leaves nothing behind.
	Build(ctx context.Context, r Request, ref protocol.ImageRef) (protocol.ImageRef, error)
}

// Request is one image to build.
type Request struct {
	App protocol.AppSpec
	// Input is the digest of all that the image is made of, sha256:….
	Input string
	// Context is what to build.
	Context Context
	// Platforms to build for, sorted, at least one.
	Platforms []ocispec.Platform
	// Created is the creation time of the image: SOURCE_DATE_EPOCH, else 1970.
	Created time.Time
	// Takes are what the build takes of the context; nil for all of it.
	Takes []dockerfile.Take
	// Bases are the digests of the base images in the input, by their names in the
	// Dockerfile after expansion. One that could not be looked up is missing.
	Bases map[string]digest.Digest
	// NoCache asks to rebuild everything.
	NoCache bool
	// Verify fails if the input has changed since the request. A backend calls it
	// once the image is made, before anything can find it.
	Verify func(ctx context.Context) error
}

// BaseFinder is a [Backend] that also builds from images which no registry has, such as
// those of a daemon. It is asked before the registry. An image that neither knows is
// left to Build; with other backends it is an error.
type BaseFinder interface {
	// FindBase returns the digest and configuration of the image that a FROM of
	// this name takes; nil if the backend does not have it.
	FindBase(ctx context.Context, name string) (sum digest.Digest, base *dockerfile.Base, err error)
}

// Context is a Dockerfile with what it is built from.
type Context = dockerfile.Context
