package saved

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/nationtech/harmony/internal/registry/daemon"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Open exports an image from the daemon that the environment names, as the
// stream that [Image.Read] takes.
func Open(ctx context.Context, image protocol.ImageRef) (io.ReadCloser, error) {
	d, err := daemon.Connect(ctx, os.Getenv)
	if err != nil {
		return nil, fmt.Errorf("the image of %s is in a daemon: %w", image.Name, err)
	}
	if _, err := d.Image(ctx, image.ID); err != nil {
		d.Close()
		if !daemon.IsNotFound(err) {
			return nil, err
		}
		gone := &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("the image of %s is not in the daemon at %s anymore: %s", image.Name, d, image.ID)}
		return nil, gone.WithHint("build it again")
	}
	stream, err := d.Save(ctx, image.ID)
	if err != nil {
		d.Close()
		return nil, err
	}
	return connected{stream, d}, nil
}

// connected is a stream with the connection that it comes over.
type connected struct {
	io.ReadCloser
	daemon *daemon.Client
}

func (c connected) Close() error {
	defer c.daemon.Close()
	return c.ReadCloser.Close()
}

// CheckID refuses an invalid image ID of a daemon.
func CheckID(image protocol.ImageRef) error {
	if err := checkDigest(image.ID); err != nil {
		return protocol.Invalid("image %s is in a daemon, but its id %q is not a digest", image.FullName(), image.ID)
	}
	return nil
}
