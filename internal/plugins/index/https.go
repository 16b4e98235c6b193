package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/download"
	"github.com/nationtech/harmony/internal/registry/redirect"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	maxList  = 2 << 20 // bytes of the largest index.yaml
	parallel = 8
	// patience is how long one file of an index may take.
	patience = time.Minute
)

func treeLocation(base *url.URL) location {
	return location{fetch: func(ctx context.Context, o fetching) (tree, error) {
		return server{o.store.transport(base.Hostname()), base}.tree(ctx, o)
	}}
}

// transport is that for an index at a host.
func (s *Store) transport(host string) http.RoundTripper {
	return download.Transport(s.Transport, !redirect.IsHere(host), 0, host)
}

// server fetches the files of an https tree.
type server struct {
	transport http.RoundTripper
	base      *url.URL
}

func (d server) tree(ctx context.Context, o fetching) (tree, error) {
	text, err := d.get(ctx, listName, maxList)
	if err != nil {
		return nil, err
	}
	list, err := config.ParseOne[List](listName, text)
	if err != nil {
		return nil, err
	}
	files := tree{}
	var mutex sync.Mutex
	add := func(file string, data []byte) error {
		mutex.Lock()
		defer mutex.Unlock()
		return files.add(file, data)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, m := range list.Manifests {
		group.Go(func() error {
			data, err := d.manifest(ctx, m, o.have)
			if err != nil {
				return err
			}
			if err := add(m.File, data); err != nil || o.suffix == "" {
				return err
			}
			signature, err := d.get(ctx, m.File+o.suffix, maxSignature)
			switch {
			case errors.As(err, &download.Missing{}):
				return nil // reported when signatures are checked
			case err != nil:
				return err
			}
			return add(m.File+o.suffix, signature)
		})
	}
	return files, group.Wait()
}

// manifest fetches a manifest, unless the earlier copy has it.
func (d server) manifest(ctx context.Context, m Listed, have tree) ([]byte, error) {
	if old, ok := have[m.File]; ok && hashOf(old) == m.SHA256 {
		return old, nil
	}
	data, err := d.get(ctx, m.File, maxManifest)
	if err != nil {
		return nil, err
	}
	if hash := hashOf(data); hash != m.SHA256 {
		return nil, protocol.Retryable("%s has the hash %s, but %s lists %s: it is being replaced, or was tampered with", m.File, hash, listName, m.SHA256)
	}
	return data, nil
}

// get fetches one file.
func (d server) get(ctx context.Context, file string, limit int64) (data []byte, err error) {
	err = download.Retry(ctx, func() (err error) {
		data, err = d.once(ctx, file, limit)
		return err
	})
	if large := (*tooLarge)(nil); err == nil || errors.As(err, &large) {
		return data, err
	}
	return nil, fmt.Errorf("fetch %s: %w", file, err)
}

func (d server) once(ctx context.Context, file string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	response, err := download.Get(ctx, d.transport, d.base.JoinPath(file).String())
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := readLimited(response.Body, limit, file)
	if large := (*tooLarge)(nil); err == nil || errors.As(err, &large) {
		return data, err
	}
	return nil, protocol.Retryable("%w", err)
}

// readLimited reads at most limit bytes; more is an error.
func readLimited(r io.Reader, limit int64, file string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &tooLarge{file, limit}
	}
	return data, nil
}

// tooLarge is a file over its limit.
type tooLarge struct {
	file  string
	limit int64
}

func (e *tooLarge) Error() string { return fmt.Sprintf("%s is larger than %d bytes", e.file, e.limit) }

func hashOf(data []byte) string {
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}
