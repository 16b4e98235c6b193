package artifact

import (
	"cmp"
	"regexp"
)

// maxSize is that of the largest artifact, in bytes.
const maxSize = 2 << 30

// Artifact is what a plugin is delivered in, for one platform: a tar.gz, a zip, or
// the executable itself.
type Artifact struct {
	// URI is where the artifact is: https://, oci://, or in an index on this
	// machine file:///. It is a tar.gz, a zip, or the binary itself.
	URI string `json:"uri" yaml:"uri"`
	// SHA256 is the artifact's hash, 64 hexadecimal digits in lower case.
	SHA256 string `json:"sha256" yaml:"sha256"`
	// Size of the artifact in bytes.
	Size int64 `json:"size" yaml:"size"`
	// Bin is the path of the binary in the archive; harmony-NAME when empty.
	Bin string `json:"bin,omitempty" yaml:"bin,omitempty"`
}

// Binary is the path of a plugin's executable in the archive.
func (a Artifact) Binary(name string) string { return cmp.Or(a.Bin, Prefix+name) }

// Validate adds the problems of hash and size, by field.
func (a Artifact) Validate(add func(field, format string, args ...any)) {
	if !ValidHash(a.SHA256) {
		add("sha256", "must be a SHA-256, 64 hexadecimal digits in lower case")
	}
	if a.Size <= 0 || a.Size > maxSize {
		add("size", "must be the artifact's size in bytes, at most %d", int64(maxSize))
	}
}

// ValidHash reports whether a text is a SHA-256 in hexadecimal.
func ValidHash(text string) bool { return regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(text) }
