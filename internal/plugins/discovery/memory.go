package discovery

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/cli/owner"
)

// File identifies a file and its content, as far as possible without reading it.
// What has the same values was not changed: nobody but root can set Changed.
type File struct {
	Path   string `json:"path"`
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Size   int64  `json:"size"`
	// Modified and Changed are when its content, and when anything of it, was changed
	// last, in nanoseconds.
	Modified int64 `json:"modified"`
	Changed  int64 `json:"changed"`
}

// Identify looks at a file; Path is without links.
func Identify(path string) (File, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return File{}, err
	}
	info, err := os.Stat(target)
	if err != nil {
		return File{}, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return File{}, fmt.Errorf("%s: the system does not say which file it is", target)
	}
	return File{
		Path: target, Device: uint64(stat.Dev), Inode: stat.Ino, Size: info.Size(), //nolint:gosec // a number of other width on other systems
		Modified: info.ModTime().UnixNano(), Changed: changeTime(stat),
	}, nil
}

// racy is how old the last change of a file has to be for it to be remembered: one
// that is changed again within the same tick of the clock looks the same. File
// systems that keep no fractions of a second tick once or every other second.
func (f File) racy(now time.Time) bool {
	tick := 100 * time.Millisecond
	if f.Changed%int64(time.Second) == 0 {
		tick = 2 * time.Second
	}
	return now.Sub(time.Unix(0, f.Changed)) < tick
}

// Memory keeps what was found out about files.
type Memory struct {
	// Folder holds it; nothing is kept when it is empty.
	Folder string
}

// remembered is what the folder holds.
type remembered struct {
	File
	Document json.RawMessage `json:"document"`
}

func (m Memory) path(f File) string {
	return filepath.Join(m.Folder, fmt.Sprintf("%x.json", sha256.Sum256([]byte(f.Path))))
}

// Recall returns what is kept of a file that is still the same. What others could
// have written is not believed.
func (m Memory) Recall(f File) (json.RawMessage, bool) {
	if m.Folder == "" {
		return nil, false
	}
	if owner.Check(m.path(f)) != nil {
		return nil, false
	}
	data, err := os.ReadFile(m.path(f))
	if err != nil {
		return nil, false
	}
	var kept remembered
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, false
	}
	return kept.Document, kept.File == f
}

// Keep keeps what was found out about a file that was identified before it was
// read. A folder that cannot be written, as in a read-only home, only means that it
// is found out again, and so does a file that was changed just now.
func (m Memory) Keep(f File, document json.RawMessage) {
	if f.racy(time.Now()) {
		return
	}
	data, err := json.Marshal(remembered{f, document})
	if m.Folder != "" && err == nil {
		_ = atomicfile.Write(m.path(f), data, 0o600)
	}
}
