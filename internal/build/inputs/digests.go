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
)

// racy is how old the last change of a file has to be when it is read for its
// times to identify the content from then on. File systems and kernels tell
// times in steps of up to a second or two.
const racy = 2 * time.Second

// tick is longer than any step in which a kernel tells the time of a change.
const tick = 50 * time.Millisecond

// stat is what identifies the content of a file without reading it.
type stat struct {
	size, mtime, ctime int64
	inode, device      uint64
	mode               uint32
}

func statOf(info fs.FileInfo) stat {
	s := stat{size: info.Size(), mtime: info.ModTime().UnixNano(), mode: uint32(info.Mode())}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.ctime, s.inode, s.device = changeTime(sys), sys.Ino, uint64(sys.Dev)
	}
	return s
}

// Same reports whether two infos are of one file that was not changed in
// between.
func Same(a, b fs.FileInfo) bool { return statOf(a) == statOf(b) }

// settled reports whether a file with this stat, read at the given time, cannot
// be changed afterwards without its stat telling.
func (s stat) settled(read time.Time) bool {
	return s.ctime != 0 && max(s.mtime, s.ctime) < read.Add(-racy).UnixNano()
}

// over is when a change that gave these times is surely over. Whole seconds
// come from a file system that keeps no parts of them.
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

// Digests remembers the digests of files in a file of its own. It is safe for
// use by several goroutines; several processes may use the same file, of which
// the last one's memory stays.
type Digests struct {
	path string

	mu      sync.Mutex
	known   map[string]remembered
	used    map[string]remembered
	changed bool
}

// OpenDigests reads what is remembered at path. A file that is absent or cannot
// be understood is an empty memory: digests are computed anew then.
func OpenDigests(path string) *Digests {
	d := &Digests{path: path, used: map[string]remembered{}}
	data, err := os.ReadFile(path)
	if err == nil {
		d.known, err = decode(data)
	}
	if err != nil {
		d.known = map[string]remembered{}
	}
	return d
}

// File returns the sha256 of the file's content in hex, following symbolic
// links. Something else than a regular file is an error.
func (d *Digests) File(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return d.Known(path, info, func() (fs.File, error) { return os.Open(path) })
}

// Known is File for a file whose info is known already, as of now, and that is
// opened by a function.
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
	if ok && r.stat == now {
		d.used[path] = r
	}
	d.mu.Unlock()
	if ok && r.stat == now {
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

// Save writes the memory of the files that were asked for since it was opened;
// others are forgotten, as are those that were changed too lately. Where it cannot
// be written, the files are read again next time.
func (d *Digests) Save() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.changed && len(d.used) == len(d.known) {
		return
	}
	if writeFile(d.path, encode(d.used)) == nil {
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
		for _, n := range []int64{r.stat.size, r.stat.mtime, r.stat.ctime} {
			b = strconv.AppendInt(append(b, ' '), n, 10)
		}
		for _, n := range []uint64{r.stat.inode, r.stat.device, uint64(r.stat.mode)} {
			b = strconv.AppendUint(append(b, ' '), n, 10)
		}
		b = append(strconv.AppendQuote(append(b, ' '), path), '\n')
	}
	return append(b, "end\n"...)
}

var errMalformed = errors.New("malformed memory of digests")

func decode(data []byte) (map[string]remembered, error) {
	body, ok := bytes.CutPrefix(data, []byte(header))
	if !ok {
		return nil, errMalformed
	}
	// The last line proves that the file is whole.
	body, ok = bytes.CutSuffix(body, []byte("end\n"))
	if !ok {
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
	var errs [7]error
	r.stat.size, errs[0] = strconv.ParseInt(fields[1], 10, 64)
	r.stat.mtime, errs[1] = strconv.ParseInt(fields[2], 10, 64)
	r.stat.ctime, errs[2] = strconv.ParseInt(fields[3], 10, 64)
	r.stat.inode, errs[3] = strconv.ParseUint(fields[4], 10, 64)
	r.stat.device, errs[4] = strconv.ParseUint(fields[5], 10, 64)
	mode, err := strconv.ParseUint(fields[6], 10, 32)
	r.stat.mode, errs[5] = uint32(mode), err
	path, err := strconv.Unquote(fields[7])
	errs[6] = err
	if errors.Join(errs[:]...) != nil {
		return "", remembered{}, errMalformed
	}
	return path, r, nil
}
