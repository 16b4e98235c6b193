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
)

// blobAge is how long a blob of a base image stays after its last use.
const blobAge = 7 * 24 * time.Hour

// Blob is the file of a blob, fetched and verified if it is not there.
func (r Registry) Blob(ctx context.Context, repository name.Repository, sum digest.Digest) (string, error) {
	if err := sum.Validate(); err != nil {
		return "", err
	}
	path := r.path(sum)
	if used(path) {
		return path, nil
	}
	layer, err := remote.Layer(repository.Digest(sum.String()), r.options(ctx)...)
	if err != nil {
		return "", classify(err)
	}
	// The reader fails where the content is not that of the digest.
	content, err := layer.Compressed()
	if err != nil {
		return "", classify(err)
	}
	defer content.Close()
	return path, r.write(sum, func(w io.Writer) error {
		if _, err := io.Copy(w, content); err != nil {
			return classify(err)
		}
		return nil
	})
}

// Keep is the file of any other content, by its digest. What is not there is
// fetched by the function, which compares the digest.
func (r Registry) Keep(sum digest.Digest, fetch func(io.Writer) error) (string, error) {
	if err := sum.Validate(); err != nil {
		return "", err
	}
	path := r.path(sum)
	if used(path) {
		return path, nil
	}
	return path, r.write(sum, fetch)
}

func (r Registry) path(sum digest.Digest) string {
	return filepath.Join(r.Cache, string(sum.Algorithm()), sum.Encoded())
}

// write makes the file of a blob in one step.
func (r Registry) write(sum digest.Digest, content func(io.Writer) error) error {
	path := r.path(sum)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	if err := errors.Join(content(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
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

// Prune removes the blobs that were not used for long, and what interrupted
// downloads left. Layouts have links or copies of theirs.
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
