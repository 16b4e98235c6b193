package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/plugins/download"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// ImageDigest asks the registry of an image what it is now: the digest of all its
// platforms.
func ImageDigest(ctx context.Context, image string) (string, error) {
	ref, err := name.ParseReference(image, auth.Naming(false)...)
	if err != nil {
		return "", protocol.Invalid("image %s: %w", image, err)
	}
	head, err := remote.Head(ref, auth.Options(ctx, ref.Context(), false)...)
	if err == nil {
		return head.Digest.String(), nil
	}
	if !errors.As(err, new(*url.Error)) { // not every registry answers HEAD as it answers GET
		got, again := remote.Get(ref, auth.Options(ctx, ref.Context(), false)...)
		if err = again; err == nil {
			return got.Digest.String(), nil
		}
	}
	err = download.Failed(err)
	return "", &protocol.Error{Code: protocol.ExitCode(err), Err: fmt.Errorf("image %s: %w", image, err), Hint: protocol.HintOf(err)}
}
