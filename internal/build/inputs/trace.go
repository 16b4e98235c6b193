package inputs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/cli/cachedir"
)

// Trace is an answer with everything that was read to find it.
type Trace struct {
	// Answer is what was found, for the caller to interpret.
	Answer string `json:"answer"`
	// Seen lists what was read, in no particular order.
	Seen []Observation `json:"seen"`

	// settled is when the last change of anything in Seen is certainly over, in
	// Unix nanoseconds.
	settled int64
}

// Observation is one thing that was read, and its state at the time.
type Observation struct {
	// Kind is one of the constants below.
	Kind string `json:"kind"`
	// Path is the file or folder, absolute.
	Path string `json:"path"`
	// Value is what was seen: a digest, or one of present and absent.
	Value string `json:"value"`
}

// The kinds of an observation.
const (
	seenFile   = "file"   // the content of a regular file
	seenFolder = "folder" // the names and types of a folder's entries
	seenPath   = "path"   // whether there is anything
)

// The values of a seenPath.
const (
	present = "present"
	absent  = "absent"
)

// LoadTrace reads a trace that [Trace.Save] wrote. The error tests as
// fs.ErrNotExist when there is none.
func LoadTrace(path string) (*Trace, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var t Trace
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &t, nil
}

// Save writes the trace, replacing an older one in one step.
func (t *Trace) Save(path string) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o600)
}

// Holds reports whether everything is still as it was.
func (t *Trace) Holds(digests *Digests) bool {
	return !slices.ContainsFunc(t.Seen, func(o Observation) bool {
		value, err := look(digests, o.Kind, o.Path)
		return err != nil || value != o.Value
	})
}

// File notes the content of a file and returns its digest, in hex.
func (t *Trace) File(digests *Digests, path string) (string, error) {
	return t.note(digests, seenFile, path)
}

// Folder notes the names in a folder, so that one that is added or removed is
// seen.
func (t *Trace) Folder(path string) error {
	_, err := t.note(nil, seenFolder, path)
	return err
}

// Exists notes and returns whether there is anything at path.
func (t *Trace) Exists(path string) (bool, error) {
	value, err := t.note(nil, seenPath, path)
	return value == present, err
}

// Over is when the last change of what was seen, in its current state, is
// certainly over. Until then a second change may go unnoticed.
func (t *Trace) Over() time.Time {
	var last int64
	for _, o := range t.Seen {
		if info, err := os.Stat(o.Path); err == nil {
			last = max(last, statOf(info).over())
		}
	}
	return time.Unix(0, last)
}

// SettledBefore reports whether the last change of anything in the trace was
// clearly before start. If so, an answer worked out since start fits the trace,
// although the two were not read at the same instant.
func (t *Trace) SettledBefore(start time.Time) bool { return t.settled < start.UnixNano() }

func (t *Trace) note(digests *Digests, kind, path string) (string, error) {
	value, err := look(digests, kind, path)
	if err != nil {
		return "", err
	}
	t.Seen = append(t.Seen, Observation{kind, path, value})
	info, err := os.Stat(path)
	switch {
	case err == nil:
		t.settled = max(t.settled, statOf(info).over())
	case !errors.Is(err, fs.ErrNotExist) || value != absent:
		return "", err
	}
	return value, nil
}

func look(digests *Digests, kind, path string) (string, error) {
	switch kind {
	case seenFile:
		return digests.File(path)
	case seenFolder:
		return folder(path)
	}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return absent, nil
	}
	return present, err
}

func folder(path string) (string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	var names strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&names, "%s %q\n", e.Type(), e.Name())
	}
	return digest.FromString(names.String()).Encoded(), nil
}

// pruneAge is how long a file stays that is not written again.
const pruneAge = 30 * 24 * time.Hour

// Prune removes the files of a memory folder that were not written for a month.
// One that was still useful costs reading its inputs once more.
func Prune(dir string) error {
	if err := cachedir.Prune(dir, "*", 0, pruneAge); err != nil {
		return fmt.Errorf("forget old inputs: %w", err)
	}
	return nil
}
