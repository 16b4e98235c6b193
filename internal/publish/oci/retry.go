package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// patience says how long a step of a push is tried again for what may pass.
type patience struct {
	// first is the first pause; each is twice the one before, up to longest.
	first, longest time.Duration
	// total is the time after the first failure at which a step is given up.
	total time.Duration
}

// usual is what a registry gets that restarts, or that a burst was too much for.
var usual = patience{first: 500 * time.Millisecond, longest: 10 * time.Second, total: time.Minute} //nolint:gochecknoglobals // a constant

// attempts counts the failures of one step.
type attempts struct {
	patience
	n     int
	since time.Time
}

// wait pauses before the next attempt, for as long as the registry asked or a
// random time around the back-off. It reports false when there is none: the
// time is over, or would be.
func (a *attempts) wait(ctx context.Context, asked time.Duration) bool {
	if a.n == 0 {
		a.since = time.Now()
	}
	pause := min(a.first<<min(a.n, 16), a.longest)
	pause = pause/2 + rand.N(pause)
	pause = max(pause, asked)
	a.n++
	if time.Since(a.since)+pause > a.total {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// again is a failure that another attempt may not have.
type again struct {
	err   error
	asked time.Duration
}

func (e *again) Error() string { return e.err.Error() }
func (e *again) Unwrap() error { return e.err }

// retryAfter is the pause that an answer asks for, in seconds or until a date.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, date.Sub(now))
}

// maxKept is the size up to which an answer is read as a part of the request, so
// that one that breaks off is asked for again.
const maxKept = 8 << 20

// maxUnknown is how often a manifest is put again that names a blob which the
// registry does not know, though it took it before: registries whose writes are
// not atomic say so while somebody else pushes the same.
const maxUnknown = 4

// steady repeats a request for as long as its failure may pass. It is under all
// else, so that requests for a token are repeated too. What sends or ends the
// upload of a blob is not repeated here; see upload.
type steady struct {
	inner    http.RoundTripper
	patience func() patience
	// reached is true once the registry answered: only then a refused connection
	// is one that restarts.
	reached atomic.Bool
}

func (s *steady) RoundTrip(r *http.Request) (*http.Response, error) {
	tries := attempts{patience: s.patience()}
	for {
		response, err := s.once(r)
		if err == nil {
			s.reached.Store(true)
		}
		if sendsBlob(r) || !s.passing(r, response, err, tries.n) {
			return response, err
		}
		var asked time.Duration
		if response != nil {
			asked = retryAfter(response.Header, time.Now())
		}
		if !tries.wait(r.Context(), asked) {
			return given(r.Context(), response, err, asked, tries.total)
		}
		if response != nil {
			response.Body.Close()
		}
	}
}

// given is the last answer, when no more are asked for.
func given(ctx context.Context, response *http.Response, err error, asked, total time.Duration) (*http.Response, error) {
	switch {
	case ctx.Err() != nil:
		if response != nil {
			response.Body.Close()
		}
		return nil, ctx.Err()
	case asked > total:
		response.Body.Close()
		return nil, &impatient{host: response.Request.URL.Host, status: response.Status, asked: asked, total: total}
	}
	return response, err
}

// impatient is the error of a registry that asks for a longer pause than anybody
// would sit through.
type impatient struct {
	host, status string
	asked, total time.Duration
}

func (e *impatient) Error() string {
	return fmt.Sprintf("%s answers %s and asks to come back in %s; harmony waits for %s at most", e.host, e.status, e.asked.Round(time.Second), e.total)
}

// once sends a copy of the request: what is under here, and what is over it, may
// send it several times.
func (s *steady) once(r *http.Request) (*http.Response, error) {
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		if r.Body != nil {
			r.Body.Close()
		}
		r = r.Clone(r.Context())
		r.Body = body
	}
	response, err := s.inner.RoundTrip(r)
	if err != nil || isBlob(r) && response.StatusCode < http.StatusMultipleChoices {
		return response, err
	}
	kept, err := io.ReadAll(io.LimitReader(response.Body, maxKept))
	if err != nil {
		response.Body.Close()
		return nil, err
	}
	var body io.Reader = bytes.NewReader(kept)
	if len(kept) == maxKept {
		body = io.MultiReader(body, response.Body)
	}
	response.Body = started{body, response.Body}
	return response, nil
}

// started is a body of which something was read already.
type started struct {
	io.Reader
	io.Closer
}

func isBlob(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:")
}

// sendsBlob reports a request that sends the bytes of a blob, or ends that.
func sendsBlob(r *http.Request) bool {
	return r.Method == http.MethodPatch || r.Method == http.MethodPut && !strings.Contains(r.URL.Path, "/manifests/")
}

func (s *steady) passing(r *http.Request, response *http.Response, err error, n int) bool {
	switch {
	case r.Context().Err() != nil:
		return false
	case err != nil:
		return s.passingError(err)
	case isPassingStatus(response.StatusCode):
		return true
	}
	return n < maxUnknown && r.Method == http.MethodPut && response.StatusCode >= http.StatusBadRequest && names(response, "MANIFEST_BLOB_UNKNOWN")
}

// passingError reports a failure of the connection that another attempt may not
// have.
func (s *steady) passingError(err error) bool {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return s.reached.Load()
	}
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.As(err, &network) && network.Timeout() && s.reached.Load()
}

// isPassingStatus reports one that the same request may not get again.
func isPassingStatus(code int) bool {
	return code == http.StatusRequestTimeout || code == http.StatusTooManyRequests ||
		code >= http.StatusInternalServerError && code != http.StatusNotImplemented && code != http.StatusHTTPVersionNotSupported
}

// names reports whether the answer, which was read already, holds the code.
func names(response *http.Response, code string) bool {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxKept))
	response.Body = started{bytes.NewReader(text), response.Body}
	return err == nil && bytes.Contains(text, []byte(code))
}
