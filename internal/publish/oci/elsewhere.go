package oci

import (
	"context"
	"io"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fetched is the blob with its bytes taken out of the registry that has them.
func (c *client) fetched(ctx context.Context, b blob) blob {
	at := *b.elsewhere
	b.open = func() (io.ReadCloser, error) {
		env := c.env
		env.Provider = protocol.Provider{URL: at.Registry, Insecure: at.Insecure}
		other, err := newClient(env, c.field, nil)
		if err != nil {
			return nil, err
		}
		other.patience = c.patience
		digest, err := name.NewDigest(at.Registry+"/"+at.Repository+"@"+b.descriptor.Digest.String(), other.naming...)
		if err != nil {
			return nil, protocol.Invalid("%w", err)
		}
		layer, err := other.puller.Layer(ctx, digest)
		if err != nil {
			return nil, other.fail(ctx, "fetch the base image's layer "+digest.Name(), err)
		}
		bytes, err := layer.Compressed()
		if isNotFound(err) {
			lost := &protocol.Error{Code: protocol.ExitFailed, Message: "the base image's layer " + digest.Name() + " is not there anymore", Err: err}
			return nil, lost.WithHint("build again with --no-cache")
		}
		if err != nil {
			return nil, other.fail(ctx, "fetch the base image's layer "+digest.Name(), err)
		}
		return ocilayout.Checked(bytes, b.descriptor), nil
	}
	return b
}
