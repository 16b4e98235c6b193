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
	"github.com/nationtech/harmony/internal/plugins/artifact"
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

// List is an https tree's index.yaml: its manifests, for a server that lists no
// folders. It is made by 'harmony plugin index build'.
type List struct {
	protocol.Metadata `json:"-"`
	// Manifests are the files beside the list.
	Manifests []Listed `json:"manifests"`
}

// Listed is a manifest of a [List].
type Listed struct {
	// File is the manifest's name: NAME.yaml or NAME@VERSION.yaml.
	File string `json:"file"`
	// SHA256 is the hash of the manifest itself, 64 hexadecimal digits.
	SHA256 string `json:"sha256"`
}

// DocumentKind implements [protocol.Spec].
func (List) DocumentKind() protocol.Kind { return "PluginIndex" }

// Validate returns all problems at once, as [protocol.FieldErrors], or nil.
func (l List) Validate() error {
	var p problems
	if len(l.Manifests) > maxFiles {
		p.add("spec.manifests", "has more than %d entries", maxFiles)
		return p.err()
	}
	seen := map[string]bool{}
	for i, m := range l.Manifests {
		field := fmt.Sprintf("spec.manifests[%d]", i)
		if _, _, ok := manifestName(m.File); !ok {
			p.add(field+".file", "%q is not the name of a manifest, such as fleet.yaml or fleet@1.4.0.yaml", m.File)
		}
		if seen[m.File] {
			p.add(field+".file", "%s is there twice", m.File)
		}
		seen[m.File] = true
		if !artifact.ValidHash(m.SHA256) {
			p.add(field+".sha256", "must be the manifest's SHA-256, 64 hexadecimal digits in lower case")
		}
	}
	return p.err()
}

func treeLocation(base *url.URL) location {
	return location{fetch: func(ctx context.Context, o fetching) (tree, error) {
		d := download{newClient(o.store.transport(base.Hostname())), base}
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
			if isMissing(err) {
				return nil // told as that when signatures are checked
			}
			if err != nil {
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
		return nil, protocol.Retryable("%s has the hash %s, %s says %s: it is being replaced, or was tampered with", m.File, hash, listName, m.SHA256)
	}
	return data, nil
}

// missing is a file that the server does not have.
type missing struct{ file string }

func (e *missing) Error() string { return "there is no " + e.file }

func isMissing(err error) bool {
	_, ok := err.(*missing) //nolint:errorlint // made by get alone
	return ok
}

// get fetches one file, trying again what may pass.
func (d download) get(ctx context.Context, file string, limit int64) ([]byte, error) {
	pause := 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		data, err := d.once(ctx, file, limit)
		if protocol.ExitCode(err) != protocol.ExitRetryable || attempt == 3 {
			return data, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("fetch %s: %w", file, ctx.Err())
		case <-timer.C:
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
		return nil, &missing{file}
	case code == http.StatusTooManyRequests || code >= http.StatusInternalServerError:
		return nil, protocol.Retryable("fetch %s: the server answers %s", file, response.Status)
	case code != http.StatusOK:
		return nil, fmt.Errorf("fetch %s: the server answers %s", file, response.Status)
	}
	data, err := readLimited(response.Body, limit, file)
	if err != nil {
		return nil, requestFailed(ctx, file, err)
	}
	return data, nil
}

// readLimited reads at most limit bytes; what is longer is an error.
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

// newClient makes a client for files from elsewhere: it follows few redirects, and
// none to another scheme. It has no deadline of its own. transport may be nil.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: redirect.Check}
}

// transport is that for an index at a host: a server elsewhere that redirects to
// this machine is not followed.
func (s *Store) transport(host string) http.RoundTripper {
	usual, ok := http.DefaultTransport.(*http.Transport)
	if s.Transport != nil || !ok || redirect.IsHere(host) {
		return s.Transport
	}
	return redirect.Outside(usual.Clone(), host)
}

// requestFailed is the error of a request without an answer. What may pass is
// of status protocol.ExitRetryable; a certificate that is not trusted or a
// redirect that is refused does not.
func requestFailed(ctx context.Context, file string, err error) error {
	var refused *redirect.Refused
	var certificate *tls.CertificateVerificationError
	var large *tooLarge
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without the address, which may hold a token
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
			WithHint("the server's certificate must be one that this machine trusts (SSL_CERT_FILE adds some)")
	}
	return protocol.Retryable("fetch %s: %w", file, err)
}
