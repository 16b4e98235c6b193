package index

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
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
	"github.com/nationtech/harmony/internal/plugins/suite"
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
		d := download{&http.Client{Transport: o.store.transport(base.Hostname()), CheckRedirect: redirect.Check}, base}
		return d.tree(ctx, o)
	}}
}

// download fetches the files of an https tree.
type download struct {
	client *http.Client
	base   *url.URL
}

func (d download) tree(ctx context.Context, o fetching) (tree, error) {
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
			var missing *missingError
			switch {
			case errors.As(err, &missing):
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
func (d download) manifest(ctx context.Context, m Listed, have tree) ([]byte, error) {
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

// missingError is that of a file that the server does not have.
type missingError struct{ file string }

func (e *missingError) Error() string { return "the server has no " + e.file }

// get fetches one file, with three attempts where a failure may pass.
func (d download) get(ctx context.Context, file string, limit int64) ([]byte, error) {
	pause := 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		data, err := d.once(ctx, file, limit)
		if protocol.ExitCode(err) != protocol.ExitRetryable || attempt == 3 {
			return data, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("fetch %s: %w", file, ctx.Err())
		case <-time.After(pause):
			pause *= 3
		}
	}
}

func (d download) once(ctx context.Context, file string, limit int64) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, d.base.JoinPath(file).String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "harmony/"+suite.Version())
	response, err := d.client.Do(request)
	if err != nil {
		return nil, requestFailed(ctx, file, err)
	}
	defer response.Body.Close()
	switch code := response.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		return nil, &missingError{file}
	case code == http.StatusTooManyRequests || code >= http.StatusInternalServerError:
		return nil, protocol.Retryable("fetch %s: the server returned %s", file, response.Status)
	case code != http.StatusOK:
		return nil, fmt.Errorf("fetch %s: the server returned %s", file, response.Status)
	}
	data, err := readLimited(response.Body, limit, file)
	if err != nil {
		return nil, requestFailed(ctx, file, err)
	}
	return data, nil
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

// transport is that for an index at a host: a remote server must not redirect to this
// machine.
func (s *Store) transport(host string) http.RoundTripper {
	usual, ok := http.DefaultTransport.(*http.Transport)
	if s.Transport != nil || !ok || redirect.IsHere(host) {
		return s.Transport
	}
	return redirect.Outside(usual.Clone(), host)
}

// requestFailed is the error of a request without a complete response, of status
// protocol.ExitRetryable unless a certificate is not trusted or a redirect refused.
func requestFailed(ctx context.Context, file string, err error) error {
	var refused *redirect.Refused
	var certificate *tls.CertificateVerificationError
	var large *tooLarge
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without the address, which may contain a token
	}
	switch {
	case errors.As(err, &large):
		return large
	case ctx.Err() != nil:
		return fmt.Errorf("fetch %s: %w", file, ctx.Err())
	case errors.As(err, &refused):
		return fmt.Errorf("fetch %s: %w", file, refused)
	case errors.As(err, &certificate):
		return (&protocol.Error{Code: protocol.ExitFailed, Err: fmt.Errorf("fetch %s: %w", file, err)}).
			WithHint("this machine must trust the server's certificate (SSL_CERT_FILE adds trusted ones)")
	}
	return protocol.Retryable("fetch %s: %w", file, err)
}
