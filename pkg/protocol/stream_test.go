package protocol_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/nationtech/harmony/pkg/protocol"
)

const line = `{"apiVersion":"v","kind":"K"}`

// read returns the lines of all documents up to the first error.
func read(r io.Reader) (lines []string, err error) {
	reader := protocol.NewReader(r)
	for {
		d, err := reader.Next()
		if err != nil {
			return lines, err
		}
		lines = append(lines, string(d.Bytes()))
	}
}

// exactly is a document of n bytes.
func exactly(n int) string {
	const frame = `{"apiVersion":"v","kind":"K","spec":""}`
	return strings.Replace(frame, `""`, `"`+strings.Repeat("x", n-len(frame))+`"`, 1)
}

func TestReader(t *testing.T) {
	full := exactly(protocol.MaxDocument)
	tests := []struct {
		name, input string
		count       int
		want        string // of the error; io.EOF when empty
	}{
		{"nothing", "", 0, ""},
		{"one", line + "\n", 1, ""},
		{"no line end at the end", line + "\n" + line, 2, ""},
		{"CRLF", line + "\r\n" + line + "\r\n", 2, ""},
		{"blank lines", "\n\r\n  \n" + line + "\n\n\t\n" + line + "\n\n", 2, ""},
		{"the largest", full + "\n" + full + "\r\n" + full, 3, ""},
		{"one byte more", line + "\n" + exactly(protocol.MaxDocument+1) + "\n" + line, 1, "line 2: document is over the limit of 1048576 bytes"},
		{"no end in sight", strings.Repeat("x", 3*protocol.MaxDocument), 0, "line 1: document is over the limit"},
		{"only carriage returns", strings.Repeat("\r", 3*protocol.MaxDocument), 0, "line 1: document is over the limit"},
		{"blank line that is too long", strings.Repeat(" ", protocol.MaxDocument+1), 0, "line 1: document is over the limit"},
		{"not UTF-8", line + "\n\n\xff\n", 1, "line 3: document is not UTF-8"},
		{"not JSON", line + "\nbuilding…\n" + line, 1, "line 2: not a JSON object"},
		{"cut off", line + "\n" + line[:12], 1, "line 2: not a JSON object"},
		{"NUL", "\x00\n", 0, "line 1: not a JSON object"},
	}
	for _, test := range tests {
		for _, slow := range []bool{false, true} {
			var input io.Reader = strings.NewReader(test.input)
			if slow && len(test.input) < 1<<10 {
				input = iotest.OneByteReader(input)
			}
			got, err := read(input)
			if len(got) != test.count {
				t.Errorf("%s: %d documents, want %d", test.name, len(got), test.count)
			}
			if test.want == "" && !errors.Is(err, io.EOF) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s: error %v, want %q", test.name, err, test.want)
			}
		}
	}
}

// endless never ends a line; it counts what is taken of it.
type endless struct {
	fill byte
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.fill
	}
	e.read += len(p)
	return len(p), nil
}

func TestReaderIsBounded(t *testing.T) {
	for _, fill := range []byte{'x', ' ', '\r'} {
		source := &endless{fill: fill}
		if _, err := protocol.NewReader(io.LimitReader(source, 64<<20)).Next(); err == nil {
			t.Errorf("%q for ever is no error", fill)
		}
		if source.read > 2*protocol.MaxDocument {
			t.Errorf("%d bytes of %q were read", source.read, fill)
		}
	}
}

func TestReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("the pipe broke")
	got, err := read(io.MultiReader(strings.NewReader(line+"\n"+line[:9]), iotest.ErrReader(broken)))
	if len(got) != 1 || !errors.Is(err, broken) {
		t.Errorf("%d documents, error %v", len(got), err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(line + "\n\r\n" + line))
	f.Add([]byte("\x00\xff\n{}"))
	f.Fuzz(func(t *testing.T, input []byte) {
		lines, err := read(bytes.NewReader(input))
		if err == nil {
			t.Fatal("no end")
		}
		again, _ := read(strings.NewReader(strings.Join(lines, "\n")))
		if strings.Join(again, "\n") != strings.Join(lines, "\n") {
			t.Errorf("%q was read again as %q", lines, again)
		}
	})
}

// oneWrite fails when a document comes in more than one piece.
type oneWrite struct {
	t   *testing.T
	all bytes.Buffer
}

func (w *oneWrite) Write(p []byte) (int, error) {
	if bytes.Count(p, []byte("\n")) != 1 || !bytes.HasSuffix(p, []byte("\n")) {
		w.t.Errorf("%q is not one line", p)
	}
	return w.all.Write(p)
}

func TestWriter(t *testing.T) {
	out := &oneWrite{t: t}
	writer := protocol.NewWriter(out)
	odd, err := protocol.Parse([]byte(`{"kind":"K",  "x":1,"apiVersion":"v"}` + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			event := protocol.Event{Metadata: protocol.Metadata{Name: "a"}, Phase: fmt.Sprint(i)}
			if err := errors.Join(writer.Write(odd), writer.WriteSpec(event)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	lines, err := read(&out.all)
	if len(lines) != 40 || !errors.Is(err, io.EOF) {
		t.Fatalf("%d documents, error %v", len(lines), err)
	}
	unchanged := 0
	for _, l := range lines {
		if l == string(odd.Bytes()) {
			unchanged++
		}
	}
	if unchanged != 20 {
		t.Errorf("%d documents came out as they went in, want 20", unchanged)
	}
}
