package base

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// blobAge is how long a blob of a base image stays after its last use.
const blobAge = 7 * 24 * time.Hour

// errDamaged is of a file in the cache that does not have its digest.
var errDamaged = errors.New("does not match its digest")

// Read has f read a blob, which is fetched when it is not in the cache. Its
// content is compared with the digest while f reads it. When the cached file is
// damaged it is fetched again, and f is called a second time: it must not act
// on what it read before Read returns.
func (r Registry) Read(ctx context.Context, repository name.Repository, d ocispec.Descriptor, f func(io.Reader) error) error {
	return r.use(ctx, d.Digest, func(w io.Writer) error { return r.fetch(ctx, repository, d, w) }, f)
}

// Blob is the file of a blob, whose content was compared with the digest just
// now.
func (r Registry) Blob(ctx context.Context, repository name.Repository, d ocispec.Descriptor) (string, error) {
	return r.path(d.Digest), r.Read(ctx, repository, d, nil)
}

// Keep is Blob for any other content, which fetch gets if it is missing. It must verify
// the digest.
func (r Registry) Keep(ctx context.Context, sum digest.Digest, fetch func(io.Writer) error) (string, error) {
	return r.path(sum), r.use(ctx, sum, fetch, nil)
}

// fetch downloads a blob. What is larger than its descriptor says is refused
// before it fills the disk.
func (r Registry) fetch(ctx context.Context, repository name.Repository, d ocispec.Descriptor, w io.Writer) error {
	layer, err := remote.Layer(repository.Digest(d.Digest.String()), auth.Options(ctx, repository, r.insecure(repository))...)
	if err != nil {
		return classify(err)
	}
	// The reader fails where the content is not that of the digest.
	content, err := layer.Compressed()
	if err != nil {
		return classify(err)
	}
	defer content.Close()
	n, err := io.Copy(w, io.LimitReader(content, d.Size+1))
	switch {
	case err != nil:
		return classify(err)
	case n > d.Size:
		return fmt.Errorf("%s sent more than the %d bytes of blob %s", repository.RegistryStr(), d.Size, d.Digest)
	case n < d.Size:
		return protocol.Retryable("%s sent %d of the %d bytes of blob %s", repository.RegistryStr(), n, d.Size, d.Digest)
	}
	return nil
}

// use has f read a file of the cache; a nil f only has it compared.
func (r Registry) use(ctx context.Context, sum digest.Digest, fetch func(io.Writer) error, f func(io.Reader) error) error {
	if err := sum.Validate(); err != nil {
		return err
	}
	path := r.path(sum)
	if used(path) {
		err := compare(ctx, path, sum, f)
		if !errors.Is(err, errDamaged) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replace a damaged file of the cache: %w", err)
		}
	}
	if err := r.write(sum, fetch); err != nil || f == nil {
		return err
	}
	return compare(ctx, path, sum, f)
}

// compare has f read the file, and reads the rest itself. If the digest does not match,
// the error of f does not count.
func compare(ctx context.Context, path string, sum digest.Digest, f func(io.Reader) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	seen := sum.Algorithm().Digester()
	var failed error
	if f != nil {
		failed = f(io.TeeReader(file, seen.Hash()))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := io.Copy(seen.Hash(), file); err != nil {
		return err
	}
	if seen.Digest() != sum {
		return fmt.Errorf("%s %w", path, errDamaged)
	}
	return failed
}

func (r Registry) path(sum digest.Digest) string {
	return filepath.Join(r.Cache, string(sum.Algorithm()), sum.Encoded())
}

// write makes the file of a blob in one step.
func (r Registry) write(sum digest.Digest, content func(io.Writer) error) error {
	return atomicfile.Stream(r.path(sum), 0o600, content)
}

// used reports whether a blob is there, and keeps it from being removed soon.
func used(path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	now := time.Now()
	// A cache that cannot be written to still serves.
	_ = os.Chtimes(path, now, now)
	return true
}

// Prune removes the blobs that were not used for a week, and the remains of
// interrupted downloads. Layouts have links to or copies of theirs.
func (r Registry) Prune() error {
	err := filepath.WalkDir(r.Cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || time.Since(info.ModTime()) < blobAge {
			return err
		}
		return os.Remove(path)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old base images: %w", err)
	}
	return nil
}
