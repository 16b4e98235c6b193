package protocol

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Reader reads the documents of a stream.
type Reader struct {
	r    *bufio.Reader
	line int
}

// NewReader reads from r. It buffers, so r belongs to it from then on.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next document, or io.EOF after the last. Blank lines are
// passed over. Any other error names the line; the stream cannot be read on
// after it.
func (r *Reader) Next() (Document, error) {
	for {
		line, err := r.readLine()
		if err != nil {
			return Document{}, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		d, err := Parse(line)
		if err != nil {
			return Document{}, fmt.Errorf("line %d: %w", r.line, err)
		}
		return d, nil
	}
}

// readLine returns the next line, the last one also without its line end. It
// holds no more than MaxDocument and one buffer of it in memory.
func (r *Reader) readLine() ([]byte, error) {
	r.line++
	var line []byte
	for {
		part, err := r.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > MaxDocument+len("\r\n"), len(bytes.TrimRight(line, "\r\n")) > MaxDocument:
			return nil, fmt.Errorf("line %d: document is over the limit of %d bytes", r.line, MaxDocument)
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// Writer writes documents to a stream, each in one Write call, so that a
// reader at the other end of a pipe sees it at once. It is safe for use by
// several goroutines.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
}

// NewWriter writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes one document, byte for byte as it was read or encoded.
func (w *Writer) Write(d Document) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.w.Write(append(bytes.Clone(d.Bytes()), '\n'))
	return err
}

// WriteSpec encodes a typed document and writes it.
func (w *Writer) WriteSpec(s Spec) error {
	d, err := Encode(s)
	if err != nil {
		return err
	}
	return w.Write(d)
}
