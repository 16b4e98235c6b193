package process

import (
	"bytes"
	"cmp"
	"fmt"
)

// Buffer keeps output up to its limit, in bytes; more is an error, which ends the child.
type Buffer struct {
	Limit int
	// Over is true once the limit was exceeded.
	Over bool
	text []byte
}

// Write implements [io.Writer].
func (b *Buffer) Write(p []byte) (int, error) {
	if b.Over = b.Over || len(b.text)+len(p) > b.Limit; b.Over {
		return 0, fmt.Errorf("it wrote more than %d bytes", b.Limit)
	}
	b.text = append(b.text, p...)
	return len(p), nil
}

// Bytes is the output.
func (b *Buffer) Bytes() []byte { return b.text }

// Tail keeps the end of the output, up to its limit in bytes.
type Tail struct {
	Limit int
	text  []byte
}

// Write implements [io.Writer].
func (t *Tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p[max(0, len(p)-t.Limit):]...)
	if len(t.text) > 2*t.Limit {
		t.text = append(t.text[:0], t.Bytes()...)
	}
	return len(p), nil
}

// Bytes is the end of the output.
func (t *Tail) Bytes() []byte { return t.text[max(0, len(t.text)-t.Limit):] }

// maxLine is the longest line, in bytes, that is shown as one.
const maxLine = 64 << 10

// Lines shows output line by line. A line over the limit is split.
type Lines struct {
	Show func(string)
	// Max is the longest line, in bytes; 64 KiB when 0.
	Max  int
	rest []byte
}

// Write implements [io.Writer].
func (l *Lines) Write(p []byte) (int, error) {
	longest := cmp.Or(l.Max, maxLine)
	for rest := p; len(rest) > 0; {
		line, _, ended := bytes.Cut(rest[:min(len(rest), longest-len(l.rest))], []byte("\n"))
		l.rest = append(l.rest, line...)
		if rest = rest[len(line):]; ended {
			rest = rest[1:]
		}
		if ended || len(l.rest) == longest {
			l.show()
		}
	}
	return len(p), nil
}

// Flush shows the last line, if it has no end.
func (l *Lines) Flush() {
	if len(l.rest) > 0 {
		l.show()
	}
}

func (l *Lines) show() {
	l.Show(string(l.rest))
	l.rest = l.rest[:0]
}
