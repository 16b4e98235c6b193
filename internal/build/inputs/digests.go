package inputs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
)

// racy is how old the last change of a file must be when it is read for its
// times to identify the content from then on. File systems and kernels keep
// times in steps of up to a second or two.
const racy = 2 * time.Second

// tick is longer than any step in which a kernel keeps the time of a change.
const tick = 50 * time.Millisecond

// stat is what identifies the content of a file without reading it.
type stat struct {
	size, mtime, ctime, inode, device, mode int64
}

// numbers are the fields, in the order of the memory.
func (s *stat) numbers() [6]*int64 {
	return [...]*int64{&s.size, &s.mtime, &s.ctime, &s.inode, &s.device, &s.mode}
}

func statOf(info fs.FileInfo) stat {
	s := stat{size: info.Size(), mtime: info.ModTime().UnixNano(), mode: int64(info.Mode())}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.ctime, s.inode, s.device = changeTime(sys), int64(sys.Ino), int64(sys.Dev)
	}
	return s
}

// Same reports whether two infos are of one file that was not changed in
// between.
func Same(a, b fs.FileInfo) bool { return statOf(a) == statOf(b) }

// settled reports whether a file with this stat, read at the given time, cannot
// change afterwards without changing its stat.
func (s stat) settled(read time.Time) bool {
	return s.ctime != 0 && max(s.mtime, s.ctime) < read.Add(-racy).UnixNano()
}

// over is when the change that gave these times is certainly over. Whole seconds
// come from a file system that keeps no fractions.
func (s stat) over() int64 {
	last := max(s.mtime, s.ctime)
	if last%int64(time.Second) == 0 {
		return last + int64(racy)
	}
	return last + int64(tick)
}

type remembered struct {
	stat   stat
	digest string
	// young is set for a file that is not settled yet. It is good enough for
	// the rest of this run, but not for the next one.
	young bool
}

// Digests remembers the digests of files, in a file. It is safe for concurrent
// use; if several processes use the same file, the last one to save wins.
type Digests struct {
	path string

	mu      sync.Mutex
	known   map[string]remembered
	used    map[string]remembered
	changed bool
}

// OpenDigests reads what is remembered at path. A file that is missing or
// malformed is an empty memory. Without a path the memory ends with the process.
func OpenDigests(path string) *Digests {
	d := &Digests{path: path, used: map[string]remembered{}}
	if data, err := os.ReadFile(path); err == nil {
		d.known, _ = decode(data)
	}
	return d
}

// File returns the sha256 of a regular file's content in hex, following symbolic
// links.
func (d *Digests) File(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return d.Known(path, info, func() (fs.File, error) { return os.Open(path) })
}

// Known is File for a file whose current info is known already, and that open
// opens.
func (d *Digests) Known(path string, info fs.FileInfo, open func() (fs.File, error)) (string, error) {
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a regular file (%s)", path, info.Mode().Type())
	}
	now := statOf(info)
	d.mu.Lock()
	r, ok := d.used[path]
	if !ok {
		r, ok = d.known[path]
	}
	if ok = ok && r.stat == now; ok {
		d.used[path] = r
	}
	d.mu.Unlock()
	if ok {
		return r.digest, nil
	}
	return d.read(path, open)
}

// read computes the digest, and remembers it when the file stayed as it was.
func (d *Digests) read(path string, open func() (fs.File, error)) (string, error) {
	started := time.Now()
	f, err := open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	after, err := f.Stat()
	if err != nil {
		return "", err
	}
	r := remembered{stat: statOf(after), digest: hex.EncodeToString(h.Sum(nil))}
	r.young = !r.stat.settled(started)
	if statOf(before) == r.stat && r.stat.over() < started.UnixNano() {
		d.mu.Lock()
		d.used[path], d.changed = r, true
		d.mu.Unlock()
	}
	return r.digest, nil
}

// Save writes the digests that were asked for since OpenDigests; others are
// forgotten, as are those of files that changed too recently. If the memory cannot
// be written, the files are read again next time.
func (d *Digests) Save() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.path == "" || !d.changed && len(d.used) == len(d.known) {
		return
	}
	if atomicfile.Write(d.path, encode(d.used), 0o600) == nil {
		d.known, d.changed = maps.Clone(d.used), false
	}
}

const header = "harmony digests 1\n"

// encode writes a line for each file: digest, stat, quoted path.
func encode(files map[string]remembered) []byte {
	b := []byte(header)
	for path, r := range files {
		if r.young {
			continue
		}
		b = append(b, r.digest...)
		for _, n := range r.stat.numbers() {
			b = strconv.AppendInt(append(b, ' '), *n, 10)
		}
		b = append(strconv.AppendQuote(append(b, ' '), path), '\n')
	}
	return append(b, "end\n"...)
}

var errMalformed = errors.New("malformed memory of digests")

func decode(data []byte) (map[string]remembered, error) {
	body, ours := bytes.CutPrefix(data, []byte(header))
	body, whole := bytes.CutSuffix(body, []byte("end\n"))
	if !ours || !whole {
		return nil, errMalformed
	}
	files := make(map[string]remembered, bytes.Count(body, []byte("\n")))
	for line := range strings.Lines(string(body)) {
		path, r, err := decodeLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		files[path] = r
	}
	return files, nil
}

func decodeLine(line string) (string, remembered, error) {
	fields := strings.SplitN(line, " ", 8)
	if len(fields) != 8 || len(fields[0]) != hex.EncodedLen(sha256.Size) {
		return "", remembered{}, errMalformed
	}
	r := remembered{digest: fields[0]}
	for i, n := range r.stat.numbers() {
		var err error
		if *n, err = strconv.ParseInt(fields[i+1], 10, 64); err != nil {
			return "", remembered{}, errMalformed
		}
	}
	path, err := strconv.Unquote(fields[7])
	if err != nil {
		return "", remembered{}, errMalformed
	}
	return path, r, nil
}
