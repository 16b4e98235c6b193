package oci

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nationtech/harmony/pkg/protocol"
)

// eventPause is the shortest time between two events of one push.
const eventPause = 100 * time.Millisecond

// progress reports how much of one push is done.
type progress struct {
	send  func(protocol.Event)
	mu    sync.Mutex
	event protocol.Event
	last  time.Time
}

func (c *client) progress(app protocol.Metadata, tag name.Tag, total int64) *progress {
	return &progress{
		send:  c.env.Progress,
		event: protocol.Event{Metadata: app, Phase: "push", Total: total, Unit: "bytes", Message: tag.Name()},
	}
}

func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.event.Current += n
	if p.event.Current < p.event.Total && time.Since(p.last) < eventPause {
		return
	}
	p.last = time.Now()
	p.send(p.event)
}

// grow adds to the total what turns out to be sent as well.
func (p *progress) grow(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.event.Total += n
}

// blob counts the bytes of b as they are read.
func (p *progress) blob(b blob) *countedBlob { return &countedBlob{blob: b, progress: p} }

type countedBlob struct {
	blob
	progress *progress
	n        int64
	// file is the one that is sent, if it is one: its offset shows how far.
	file atomic.Pointer[os.File]
}

// open restarts the count: a blob that is read again is sent again.
func (b *countedBlob) open() (io.ReadCloser, error) {
	r, err := b.blob.open()
	if err != nil {
		return nil, err
	}
	if file, ok := r.(*os.File); ok {
		b.file.Store(file)
		return file, nil
	}
	b.count(-b.n)
	return &countedReader{ReadCloser: r, blob: b}, nil
}

// follow counts what is sent of a file until it is stopped.
func (b *countedBlob) follow() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(eventPause)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			if file := b.file.Load(); file != nil {
				if at, err := file.Seek(0, io.SeekCurrent); err == nil { // else it is closed: sent, or to be sent again
					b.count(at - b.n)
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}

func (b *countedBlob) count(n int64) {
	b.n += n
	if n != 0 {
		b.progress.add(n)
	}
}

func (b *countedBlob) done() { b.count(b.descriptor.Size - b.n) }

type countedReader struct {
	io.ReadCloser
	blob *countedBlob
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.blob.count(int64(n))
	return n, err
}
