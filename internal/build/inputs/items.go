package inputs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

const itemsHeader = "harmony items 1 "

// shortValue is how much of a long value is kept: enough to see a change.
const shortValue = 24

// SaveItems keeps a list with its digest, unless the file holds it already.
// Long values of files are cut, so the list is good for [Compare] only.
func SaveItems(path, digest string, items []Item) error {
	if savedDigest(path) == digest {
		return nil
	}
	b := append([]byte(itemsHeader), digest...)
	for _, i := range items {
		b = strconv.AppendQuote(append(b, '\n'), i.Kind)
		b = strconv.AppendQuote(append(b, ' '), i.Name)
		b = strconv.AppendQuote(append(b, ' '), i.kept())
	}
	return writeFile(path, append(b, "\nend\n"...))
}

// kept is the value as it is saved.
func (i Item) kept() string {
	if i.Kind == Base || i.Kind == Setting || len(i.Value) <= shortValue {
		return i.Value
	}
	return i.Value[:shortValue]
}

// savedDigest is the digest of the list in a file, or "".
func savedDigest(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 128)
	n, _ := f.Read(head) // an unreadable file is written anew
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	digest, _ := strings.CutPrefix(string(line), itemsHeader)
	return digest
}

// LoadItems reads what SaveItems wrote. The error tests as fs.ErrNotExist when
// there is nothing.
func LoadItems(path string) (digest string, items []Item, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	text, whole := strings.CutSuffix(string(data), "\nend\n")
	text, ours := strings.CutPrefix(text, itemsHeader)
	if !whole || !ours {
		return "", nil, fmt.Errorf("%s: %w", path, errMalformed)
	}
	digest, rest, _ := strings.Cut(text, "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		item, err := parseItem(line)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", path, err)
		}
		items = append(items, item)
	}
	return digest, items, nil
}

func parseItem(line string) (Item, error) {
	var parts [3]string
	for i := range parts {
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return Item{}, errMalformed
		}
		if parts[i], err = strconv.Unquote(quoted); err != nil {
			return Item{}, errMalformed
		}
		line = strings.TrimPrefix(line[len(quoted):], " ")
	}
	return Item{parts[0], parts[1], parts[2]}, nil
}

// Change is an item that is not what it was. Of one that was added Was is nil,
// of one that was removed Is.
type Change struct{ Was, Is *Item }

// Compare tells what changed from a saved list to another, in the order of the
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

// String says it in words.
func (c Change) String() string {
	switch {
	case c.Was == nil:
		return c.Is.String() + " was added"
	case c.Is == nil:
		return c.Was.String() + " was removed"
	case c.Is.Kind == Base || c.Is.Kind == Setting:
		return fmt.Sprintf("%s changed from %s to %s", c.Is, said(c.Was.Value), said(c.Is.Value))
	}
	return c.Is.String() + " changed"
}

func said(value string) string {
	if value == "" {
		return "nothing"
	}
	return value
}

// String is the kind and the name.
func (i Item) String() string {
	if i.Kind == i.Name || i.Name == "" {
		return i.Kind
	}
	return i.Kind + " " + i.Name
}
