package inputs

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Item is one thing that an image is made from.
type Item struct {
	// Kind is one of the constants below, or another word that messages can
	// have before the name.
	Kind string
	// Name is the same on every machine, such as a path in the project.
	Name string
	// Value changes when the thing does: a digest or a short text, never a
	// secret.
	Value string
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
			// The length tells parts from each other, whatever is in them.
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
