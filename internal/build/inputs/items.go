package inputs

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
)

// Item is one thing that an image is made from.
type Item struct {
	// Kind is one of the constants below, or another word for messages to put
	// before the name.
	Kind string
	// Name is the same on every machine, such as a path in the project.
	Name string
	// Value changes when the thing does: a digest or a short text, never a
	// secret.
	Value string
	// Path is the file or folder on this machine, absolute, if it is known. It does
	// not count, and is not kept.
	Path string `json:"-"`
}

// The kinds of items.
const (
	File    = "file"
	Base    = "base image"
	Arg     = "argument"
	Setting = "setting"
)

// Digest is the digest, sha256:…, of a list of items.
func Digest(items []Item) string {
	h := sha256.New()
	var b []byte
	for _, i := range items {
		for _, part := range [...]string{i.Kind, i.Name, i.Value} {
			// The length keeps parts apart, whatever is in them.
			b = strconv.AppendInt(b, int64(len(part)), 10)
			b = append(append(b, ' '), part...)
		}
		b = append(b, '\n')
		if len(b) > 32<<10 {
			h.Write(b)
			b = b[:0]
		}
	}
	h.Write(b)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

const itemsHeader = "harmony items 2 "

// shortValue is how much of a long value is kept: enough to see a change.
const shortValue = 24

// SaveItems saves a list with its digest, unless path has that list already.
// Long values of files are cut, so the list is good for [Compare] only.
func SaveItems(path, digest string, items []Item) error {
	head := []byte(itemsHeader + digest + "\n")
	if saved, err := os.ReadFile(path); err == nil && bytes.HasPrefix(saved, head) {
		return nil
	}
	cut := slices.Clone(items)
	for i := range cut {
		cut[i].Value = cut[i].kept()
	}
	data, err := json.Marshal(cut)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(head, data...), 0o600)
}

// kept is the value as it is saved.
func (i Item) kept() string {
	if i.Kind == Base || i.Kind == Setting || len(i.Value) <= shortValue {
		return i.Value
	}
	return i.Value[:shortValue]
}

// LoadItems reads what SaveItems wrote. The error tests as fs.ErrNotExist when
// there is nothing.
func LoadItems(path string) (digest string, items []Item, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	line, list, _ := strings.Cut(string(data), "\n")
	digest, ours := strings.CutPrefix(line, itemsHeader)
	if !ours || json.Unmarshal([]byte(list), &items) != nil {
		return "", nil, fmt.Errorf("%s: %w", path, errMalformed)
	}
	return digest, items, nil
}

// Change is an item that changed. Was is nil for one that was added, Is for one
// that was removed.
type Change struct{ Was, Is *Item }

// Compare lists what changed from a saved list to another, in the order of the
// lists, removed items last.
func Compare(was, is []Item) []Change {
	type key struct{ kind, name string }
	old := make(map[key]*Item, len(was))
	for i := range was {
		old[key{was[i].Kind, was[i].Name}] = &was[i]
	}
	var changes []Change
	for i := range is {
		k := key{is[i].Kind, is[i].Name}
		before, ok := old[k]
		if !ok || before.kept() != is[i].kept() {
			changes = append(changes, Change{before, &is[i]})
		}
		delete(old, k)
	}
	for i := range was {
		if old[key{was[i].Kind, was[i].Name}] != nil {
			changes = append(changes, Change{Was: &was[i]})
		}
	}
	return changes
}

// String describes the change for people.
func (c Change) String() string {
	switch {
	case c.Was == nil:
		return c.Is.String() + " was added"
	case c.Is == nil:
		return c.Was.String() + " was removed"
	case c.Is.Kind == Base || c.Is.Kind == Setting:
		return fmt.Sprintf("%s changed from %s to %s", c.Is, cmp.Or(c.Was.Value, "nothing"), cmp.Or(c.Is.Value, "nothing"))
	}
	return c.Is.String() + " changed"
}

// String is the kind and the name.
func (i Item) String() string {
	if i.Kind == i.Name || i.Name == "" {
		return i.Kind
	}
	return i.Kind + " " + i.Name
}
