package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/ocilayout"
)

// upload brings one blob into a repository. An upload that broke off is resumed
// where the registry says that it stopped; where it does not say, or does not
// take the rest, it starts again.
type upload struct {
	client     *client
	repository name.Repository
	blob       *countedBlob
	// from is a repository that has the blob, to mount it from; empty when none
	// is known.
	from string

	http     *http.Client
	location *url.URL
	// offset is how much the registry has confirmed.
	offset int64
}

// upload brings the blob into the repository unless it is there.
func (c *client) upload(ctx context.Context, repository name.Repository, b blob, progress *progress) error {
	from := c.mounts.find(b.descriptor.Digest, repository)
	if b.elsewhere != nil {
		b = c.fetched(ctx, b)
		if b.elsewhere.Registry == c.host && b.elsewhere.Repository != repository.RepositoryStr() {
			from = b.elsewhere.Repository
		}
	}
	counted := progress.blob(b)
	session, err := c.session(ctx, repository, from)
	if err != nil {
		return err
	}
	u := &upload{client: c, repository: repository, blob: counted, from: from, http: session.client}
	if err := u.run(ctx); err != nil {
		return err
	}
	c.mounts.add(b.descriptor.Digest, repository)
	counted.done() // all of it, also where the registry had it
	return nil
}

func (u *upload) run(ctx context.Context) error {
	tries := attempts{patience: u.client.patience}
	for {
		before := u.offset
		err := u.attempt(ctx)
		passing, mayPass := errors.AsType[*again](err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !mayPass:
			return err
		case u.offset > before:
			tries.n = 0 // it came further than ever before
		}
		if tries.wait(ctx, passing.asked) {
			continue
		}
		if passing.asked > tries.total {
			return &impatient{host: u.client.host, status: passing.Error(), asked: passing.asked, total: tries.total}
		}
		return passing.err
	}
}

// attempt does what is left of the upload.
func (u *upload) attempt(ctx context.Context) error {
	if u.location != nil {
		if err := u.resume(ctx); err != nil {
			return err
		}
	}
	if u.location == nil {
		if done, err := u.start(ctx); done || err != nil {
			return err
		}
	}
	if err := u.send(ctx); err != nil {
		return err
	}
	return u.commit(ctx)
}

// start finds the blob, mounts it, or opens an upload.
func (u *upload) start(ctx context.Context) (done bool, err error) {
	u.offset = 0
	digest := u.blob.descriptor.Digest.String()
	response, err := u.do(ctx, http.MethodHead, u.url("blobs/"+digest, nil), nil)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusOK:
		return true, nil
	case response.StatusCode != http.StatusNotFound && !isRefused(refusal(response)): // which the upload decides
		return false, refusal(response)
	}
	query := url.Values{}
	if u.from != "" {
		query = url.Values{"mount": {digest}, "from": {u.from}}
	}
	response, err = u.do(ctx, http.MethodPost, u.url("blobs/uploads/", query), nil)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusCreated:
		return true, nil
	case http.StatusAccepted:
		return false, u.follow(response)
	}
	if u.from != "" { // not every registry that cannot mount goes on by itself
		u.from = ""
		return u.start(ctx)
	}
	return false, refusal(response)
}

// resume asks how much of the upload there is. An upload that the registry has
// lost, or does not report, is forgotten.
func (u *upload) resume(ctx context.Context) error {
	response, err := u.do(ctx, http.MethodGet, u.location, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	end, ok := rangeEnd(response.Header.Get("Range"))
	if response.StatusCode != http.StatusNoContent || !ok || end > u.blob.descriptor.Size {
		u.location = nil
		return nil
	}
	u.offset = end
	return u.follow(response)
}

// rangeEnd is how many bytes a Range header counts: 0-99 are 100. Registries say
// 0-0 of an upload that is empty.
func rangeEnd(value string) (int64, bool) {
	value = strings.TrimPrefix(value, "bytes=")
	first, last, ok := strings.Cut(value, "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || first != "0" || err != nil || n < 0 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}

// send sends what the registry does not have.
func (u *upload) send(ctx context.Context) error {
	size, resumed := u.blob.descriptor.Size, u.offset > 0
	if u.offset == size && resumed {
		return nil
	}
	var broken error
	request, err := u.rest(ctx, &broken)
	if err != nil {
		return err
	}
	if resumed {
		request.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.offset, size-1))
	}
	stop := u.blob.follow()
	response, err := u.http.Do(request)
	stop()
	switch {
	case broken != nil:
		return broken // our bytes, and not the registry
	case err != nil:
		return u.lost(err)
	}
	defer response.Body.Close()
	switch code := response.StatusCode; {
	case code == http.StatusAccepted, code == http.StatusNoContent, code == http.StatusCreated:
		u.offset = size
		return u.follow(response)
	case resumed && code < http.StatusInternalServerError && code != http.StatusUnauthorized && code != http.StatusForbidden:
		u.location = nil // it does not take the rest
		return &again{err: refusal(response), asked: retryAfter(response.Header, time.Now())}
	}
	return u.answered(response)
}

// rest is the request with what the registry does not have. The error of reading
// that is kept in broken.
func (u *upload) rest(ctx context.Context, broken *error) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.location.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	request.GetBody = func() (io.ReadCloser, error) {
		body, err := u.open()
		if err != nil {
			*broken = err
			return nil, err
		}
		return &noting{body, broken}, nil // also a file: sendfile is slower than a copy to a registry nearby
	}
	request.ContentLength = u.blob.descriptor.Size - u.offset
	request.Header.Set("Content-Type", "application/octet-stream")
	return request, nil
}

// open opens the blob behind what the registry has.
func (u *upload) open() (io.ReadCloser, error) {
	body, err := u.blob.open()
	if err != nil {
		return nil, err
	}
	if file, ok := body.(*os.File); ok {
		_, err = file.Seek(u.offset, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, body, u.offset)
	}
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return body, nil
}

// noting keeps the error of reading the blob, which the client's own would hide.
type noting struct {
	io.ReadCloser
	err *error
}

func (n *noting) Read(p []byte) (int, error) {
	read, err := n.ReadCloser.Read(p)
	if errors.As(err, new(*ocilayout.Corrupt)) {
		*n.err = err
	}
	return read, err
}

// commit ends the upload. A commit whose answer was lost is found by the next
// attempt.
func (u *upload) commit(ctx context.Context) error {
	end := *u.location
	query := end.Query()
	query.Set("digest", u.blob.descriptor.Digest.String())
	end.RawQuery = query.Encode()
	response, err := u.do(ctx, http.MethodPut, &end, http.NoBody)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusCreated || response.StatusCode == http.StatusNoContent {
		return nil
	}
	err = u.answered(response)
	if hasCode(err, transport.DigestInvalidErrorCode) {
		return errors.Join(u.check(), err)
	}
	return err
}

// check finds out whether our bytes are wrong.
func (u *upload) check() error {
	body, err := u.blob.blob.open()
	if err != nil {
		return err
	}
	all := ocilayout.Checked(body, u.blob.descriptor)
	defer all.Close()
	_, err = io.Copy(io.Discard, all)
	return err
}

func (u *upload) do(ctx context.Context, method string, to *url.URL, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, err
	}
	response, err := u.http.Do(request)
	return response, u.lost(err)
}

// lost marks the error of a connection that another attempt may not have.
func (u *upload) lost(err error) error {
	if err != nil && u.client.steady.passingError(err) {
		return &again{err: err}
	}
	return err
}

// answered is the error of an answer that is not what was hoped for. An upload
// that the registry does not know anymore may have ended, or starts again.
func (u *upload) answered(response *http.Response) error {
	err := refusal(response)
	switch code := response.StatusCode; {
	case isPassingStatus(code):
	case code == http.StatusNotFound, code == http.StatusRequestedRangeNotSatisfiable, hasCode(err, transport.BlobUploadInvalidErrorCode), hasCode(err, transport.BlobUploadUnknownErrorCode):
		u.location = nil
	default:
		return err
	}
	return &again{err: err, asked: retryAfter(response.Header, time.Now())}
}

// refusal is the answer as go-containerregistry reports it.
func refusal(response *http.Response) error { return transport.CheckError(response) }

// follow takes the address for what comes next. Bytes may go where the registry
// says; credentials do not follow to another host.
func (u *upload) follow(response *http.Response) error {
	next, err := response.Request.URL.Parse(response.Header.Get("Location"))
	switch {
	case err != nil:
		return fmt.Errorf("%s returned an invalid Location header: %w", u.client.host, err)
	case response.Header.Get("Location") == "":
		return fmt.Errorf("%s returned no Location header for the upload", u.client.host)
	case next.User != nil, next.Scheme != "http" && next.Scheme != "https":
		return fmt.Errorf("%s returned a Location header that harmony does not follow: %s", u.client.host, next.Redacted())
	}
	u.location = next
	return nil
}

func (u *upload) url(rest string, query url.Values) *url.URL {
	return &url.URL{
		Scheme: u.repository.Scheme(), Host: u.repository.RegistryStr(),
		Path: "/v2/" + u.repository.RepositoryStr() + "/" + rest, RawQuery: query.Encode(),
	}
}
