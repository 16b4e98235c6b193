package daemonless

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io/fs"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/build/inputs"
)

// format is a part of every input digest. It changes with anything that makes
// another image of the same input.
const format = "dockerfile 1"

// inputDigest is the digest of everything that determines the image of a state:
// no folder names and no times of files, so that it is the same on any machine.
func (s *state) inputDigest(ctx context.Context, digests *inputs.Digests) (string, error) {
	if s.digest == "" {
		h := sha256.New()
		if err := s.hash(ctx, h, digests); err != nil {
			return "", err
		}
		s.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	}
	return s.digest, nil
}

func (s *state) hash(ctx context.Context, h hash.Hash, digests *inputs.Digests) error {
	fmt.Fprintf(h, "%s\n", format)
	if s.base != nil {
		fmt.Fprintf(h, "base %s\n", s.base.digest)
	}
	config, err := json.Marshal(s.image)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "config %q\n", config)
	for _, step := range s.history {
		fmt.Fprintf(h, "history %q\n", step.text)
	}
	for _, op := range s.operations {
		if op.folder != "" {
			fmt.Fprintf(h, "folder %q\n", op.folder)
		}
		if op.copy != nil {
			if err := op.copy.hash(ctx, h, digests); err != nil {
				return atLine(op, err)
			}
		}
	}
	return nil
}

func (c *copying) hash(ctx context.Context, h hash.Hash, digests *inputs.Digests) error {
	fmt.Fprintf(h, "copy %q chown %q mode %o from %q\n", c.dest, c.chown, c.mode, c.patterns)
	if c.from != nil {
		from, err := c.from.inputDigest(ctx, digests)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "stage %s\n", from)
	}
	for _, s := range c.sources {
		fmt.Fprintf(h, "source %q folder %t\n", s.name, s.folder)
		if s.content != nil {
			fmt.Fprintf(h, "content %q\n", *s.content)
		}
		sums, err := contents(ctx, s.files, digests)
		if err != nil {
			return err
		}
		for i, f := range s.files {
			fmt.Fprintf(h, "%s %o %q %q %s\n", f.kind, f.mode, f.path, f.link, sums[i])
		}
	}
	return nil
}

// contents are the digests of the regular ones among the files.
func contents(ctx context.Context, files []contextFile, digests *inputs.Digests) ([]string, error) {
	sums := make([]string, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range files {
		if f.kind&fs.ModeType != 0 {
			continue
		}
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			sums[i], err = digests.File(f.host)
			return err
		})
	}
	return sums, group.Wait()
}
