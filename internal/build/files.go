package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"runtime"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/pkg/protocol"
)

// listFiles lists a context: of each entry its name, kind and executable bit,
// and the content of files or the target of links. Times, owners and the rest
// of a mode are not a part of it: they differ between checkouts.
func listFiles(ctx context.Context, kind string, folder *dockerfile.Folder, digests *inputs.Digests) ([]inputs.Item, error) {
	entries, err := folder.Entries(ctx)
	if err != nil {
		return nil, refused(err)
	}
	items := make([]inputs.Item, len(entries))
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(entries) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				value, err := valueOf(entries[i], digests)
				if err != nil {
					return err
				}
				items[i] = inputs.Item{Kind: kind, Name: entries[i].Path, Value: value}
			}
		})
	}
	return items, group.Wait()
}

func valueOf(e dockerfile.Entry, digests *inputs.Digests) (string, error) {
	switch e.Kind {
	case fs.ModeDir:
		return "folder", nil
	case fs.ModeSymlink:
		return "link " + e.Link, nil
	}
	sum, err := digests.Known(e.Host, e.Info)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(e.Mode, 8) + " " + sum, nil
}

// refused is an error of status protocol.ExitInvalid, unless it comes from the
// system or the work was cancelled.
func refused(err error) error {
	var path *fs.PathError
	var coded *protocol.Error
	if errors.As(err, &path) || errors.As(err, &coded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return protocol.Invalid("%w", err)
}

// shortDigest names a file of the cache.
func shortDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}
