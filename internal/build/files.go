package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
)

// listFiles lists what is taken of a context.
func listFiles(ctx context.Context, kind string, folder *dockerfile.Folder, takes []dockerfile.Take, digests *inputs.Digests) ([]inputs.Item, error) {
	entries, err := folder.Taken(ctx, takes)
	if err != nil {
		return nil, err
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
				value, err := entries[i].Value(digests)
				if err != nil {
					return err
				}
				items[i] = inputs.Item{Kind: kind, Name: entries[i].Name, Value: value}
			}
		})
	}
	return items, group.Wait()
}

// shortDigest names a file of the cache.
func shortDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}
