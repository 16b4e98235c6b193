// Package buildable makes images from sources that need no Dockerfile of the
// app's: each writes its own, with its build context, for any builder to build.
//
// The type go is a main package, compiled by the go command of the machine and
// put on a base image, or on an empty one with the certificates of Mozilla's root
// programme; static is a folder of files behind a small server; rust-leptos an application
// that cargo-leptos compiles. Any other NAME is the executable
// harmony-buildable-NAME on PATH.
//
// What go compiles is what AppSpec says and what go build would do here: GOFLAGS and
// go.work count, and so do GOEXPERIMENT and GOTOOLCHAIN; all of them are a part of the
// input. What the machine may not choose is set: cgo, and the levels of the processor
// (GOAMD64, GOARM, …), which are those of the platform.
package buildable

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Source writes the Dockerfile and the build context of one app. It belongs to one
// goroutine. One that is an io.Closer must be closed.
type Source interface {
	// Inputs returns the Dockerfile, and what else the image is made from but its
	// base images. Each call reads it again, which is quick if nothing changed since
	// an earlier run on this machine. The same input gives the same answer on any
	// machine.
	//
	// It fails with status protocol.ExitUnsupported if this machine lacks what the
	// source needs, and with protocol.ExitInvalid if the app's sources are invalid.
	Inputs(ctx context.Context) (dockerfile.Context, []inputs.Item, error)
	// Context fills the folder, which exists and is empty, with what the last Inputs
	// read.
	Context(ctx context.Context, dir string) (dockerfile.Context, error)
}

// Options is what [Open] needs to know.
type Options struct {
	// App is valid, with a buildable as its image source and an absolute ProjectRoot.
	App protocol.AppSpec
	// Platforms to build for, at least one.
	Platforms []ocispec.Platform
	// Created is the creation time of the image.
	Created time.Time
	// Memory is a folder for what is remembered about inputs. It need not exist.
	Memory string
	// DryRun asks to change nothing but what is in Memory.
	DryRun bool
	// Unstamped leaves {version}, {commit} and {date} in linker flags as they are: for a
	// listing of inputs in which a release is no change.
	Unstamped bool
	// Together shares answers with other sources; it may be nil.
	Together *Together
	// Finder looks for the executables of types that are not built in.
	Finder discovery.Finder
	// Digest looks up the digest of an image in its registry; it may be nil.
	Digest func(ctx context.Context, name string) (digest.Digest, error)
	// Progress reports what takes long; it may be nil.
	Progress func(phase, message string)
}

func (o Options) progress(phase, message string) {
	if o.Progress != nil {
		o.Progress(phase, message)
	}
}

// Types are the names of the built-in types, sorted.
func Types() []string { return []string{typeGo, typeLeptos, typeStatic} }

const (
	typeGo     = "go"
	typeLeptos = "rust-leptos"
	typeStatic = "static"
)

// Open returns the source of an app. It reads nothing but the settings: an unknown one
// is an error of status protocol.ExitInvalid. A type that is neither built in nor an
// executable harmony-buildable-TYPE is one of status protocol.ExitUnsupported.
func Open(o Options) (Source, error) {
	switch o.App.Image.Buildable.Type {
	case typeGo:
		return openGo(o)
	case typeLeptos:
		return openLeptos(o)
	case typeStatic:
		return openStatic(o)
	}
	return openExternal(o)
}
