// Package silence ends requests to servers that stop answering.
package silence

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Limit is how long a server may be silent, unless a [Transport] says otherwise.
const Limit = 30 * time.Second

// Transport fails a GET or HEAD whose answer does not begin within the limit, and
// any answer whose body pauses for longer. The time between two reads does not
// count. The error has the status [protocol.ExitRetryable].
type Transport struct {
	// Inner does the requests.
	Inner http.RoundTripper
	// Limit is [Limit] when zero.
	Limit time.Duration
}

// RoundTrip implements [http.RoundTripper].
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &watch{host: r.URL.Host, limit: cmp.Or(t.Limit, Limit)}
	ctx, cancel := context.WithCancel(r.Context())
	w.cancel = cancel
	w.timer = time.AfterFunc(w.limit, func() {
		w.expired.Store(true)
		cancel()
	})
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.timer.Stop() // sending a large body takes time
	}
	response, err := t.Inner.RoundTrip(r.WithContext(ctx))
	w.timer.Stop()
	if err != nil {
		defer cancel()
		return nil, w.explain(err)
	}
	response.Body = &body{response.Body, w}
	return response, nil
}

type watch struct {
	host    string
	limit   time.Duration
	timer   *time.Timer
	cancel  context.CancelFunc
	expired atomic.Bool
}

func (w *watch) explain(err error) error {
	if w.expired.Load() {
		return protocol.Retryable("no data received from %s for %s", w.host, w.limit)
	}
	return err
}

type body struct {
	io.ReadCloser
	*watch
}

func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(b.limit)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil { // also for io.EOF, as which our own cancellation may appear
		err = b.explain(err)
	}
	return n, err
}

func (b *body) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
