package devices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Artifact is what a tag stands for; the zero value is nothing.
type Artifact struct {
	// Digest is that of the manifest: sha256:….
	Digest      string
	Annotations map[string]string

	descriptor *remote.Descriptor
}

// Get reads the manifest that a tag, or a digest, stands for. One that does not
// exist is no error but the zero value.
func (r Repository) Get(ctx context.Context, tag string) (Artifact, error) {
	var ref name.Reference = r.name.Tag(tag)
	if isDigest(tag) {
		ref = r.name.Digest(tag)
	}
	found, err := r.puller.Get(ctx, ref)
	if isNotFound(err) {
		return Artifact{}, nil
	}
	if err != nil {
		return Artifact{}, r.fail(ctx, "read "+ref.Name(), err)
	}
	var manifest struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(found.Manifest, &manifest); err != nil {
		return Artifact{}, fmt.Errorf("%s: %w", ref.Name(), err)
	}
	return Artifact{Digest: found.Digest.String(), Annotations: manifest.Annotations, descriptor: found}, nil
}

// Image is the artifact itself.
func (a Artifact) Image() (v1.Image, error) { return a.descriptor.Image() }

// Push pushes an artifact whole, the tag last.
func (r Repository) Push(ctx context.Context, tag string, image v1.Image) error {
	if err := r.pusher.Push(ctx, r.name.Tag(tag), image); err != nil {
		return r.fail(ctx, "push "+r.String()+":"+tag, err)
	}
	return nil
}

// Tag lets a tag stand for an artifact that Get has read.
func (r Repository) Tag(ctx context.Context, tag string, to Artifact) error {
	if err := r.pusher.Push(ctx, r.name.Tag(tag), to.descriptor); err != nil {
		return r.fail(ctx, "tag "+r.String()+":"+tag, err)
	}
	return nil
}

// Tags lists the tags; none where there is no repository.
func (r Repository) Tags(ctx context.Context) ([]string, error) {
	tags, err := r.puller.List(ctx, r.name)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, r.fail(ctx, "list the tags of "+r.String(), err)
	}
	return tags, nil
}

func isNotFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// fail gives an error its exit status: what may pass can be tried again.
func (r Repository) fail(ctx context.Context, doing string, err error) error {
	var answer *transport.Error
	var refused *auth.PlainRefused
	var network net.Error
	told := fmt.Errorf("%s: %w", doing, err)
	failed := &protocol.Error{Code: protocol.ExitFailed, Err: told}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	case errors.As(err, &refused):
		return failed.WithHint("set insecure: true in the topology when the registry is meant to be spoken to by plain http")
	case errors.As(err, &answer):
		return answered(failed, answer.StatusCode)
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		failed.Code = protocol.ExitRetryable
		return failed.WithHint("is the registry running, and reachable from here?")
	}
	return failed
}

func answered(failed *protocol.Error, status int) error {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return failed.WithHint("log in to the registry; the account must be allowed to use this repository")
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= http.StatusInternalServerError:
		failed.Code = protocol.ExitRetryable
	}
	return failed
}
