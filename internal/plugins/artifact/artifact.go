// Package artifact describes plugin archives, and how a store names the files of
// installed plugins: for the code that installs them and the code that finds them on
// PATH.
//
//	bin/harmony-foo → ../plugins/foo/1.4.0-0123456789ab/files/harmony-foo
package artifact

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// Prefix starts the file name of every plugin.
	Prefix = "harmony-"
	// Bin is the folder of a store that belongs on PATH, Plugins that of all versions.
	Bin, Plugins = "bin", "plugins"
	// Files is the folder of a version with the content of its archive.
	Files = "files"
	// replacing marks the folder of a version that replaces the suite's own plugin of
	// its name. No version contains a ~.
	replacing = "~replacing"
)

// Store is the folder of the user's store: $XDG_DATA_HOME/harmony, or
// ~/.local/share/harmony.
func Store(getenv func(string) string) (string, error) {
	if base := getenv("XDG_DATA_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "harmony"), nil
	}
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", protocol.Invalid("HOME is not set: there is no folder for plugins").WithHint("set HOME or XDG_DATA_HOME")
	}
	return filepath.Join(home, ".local", "share", "harmony"), nil
}

// ProjectStore is the folder of a project's own store, whose plugins run for that
// project alone. It is in the user's store, outside of the project's sources.
func ProjectStore(getenv func(string) string, root string) (string, error) {
	base, err := Store(getenv)
	if err != nil {
		return "", err
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(root))
	return filepath.Join(base, "projects", fmt.Sprintf("%s-%x", filepath.Base(root), sum[:6])), nil
}

// Folder is the name of a version's folder.
func Folder(version, sha256 string, replaces bool) string {
	if replaces {
		version += replacing
	}
	return version + "-" + sha256[:12]
}

// Target is the target of a plugin's link while the version in the folder is active.
func Target(name, folder, bin string) string {
	return filepath.Join("..", Plugins, name, folder, Files, filepath.FromSlash(bin))
}

// FolderOf is the folder of the version that a link's target leads to; "" for any
// other target.
func FolderOf(name, target string) string {
	rest, ours := strings.CutPrefix(filepath.ToSlash(target), "../"+Plugins+"/"+name+"/")
	folder, _, inside := strings.Cut(rest, "/"+Files+"/")
	if !ours || !inside {
		return ""
	}
	return folder
}

// Link reads the link of an installed plugin: its version, and whether it replaces
// the suite's own plugin of its name. The version is "" for any other file.
func Link(path string) (version string, replaces bool) {
	target, err := os.Readlink(path)
	if err != nil {
		return "", false
	}
	folder := FolderOf(strings.TrimPrefix(filepath.Base(path), Prefix), target)
	at := strings.LastIndexByte(folder, '-')
	if at < 0 {
		return "", false
	}
	return strings.TrimSuffix(folder[:at], replacing), Replaces(folder)
}

// Replaces reports whether the version in a folder was installed to replace the
// suite's own plugin.
func Replaces(folder string) bool { return strings.Contains(folder, replacing+"-") }

// maxSize is that of the largest artifact, in bytes.
const maxSize = 2 << 30

// Artifact is the file in which a plugin is delivered for one platform.
type Artifact struct {
	// URI is where the artifact is: https://, oci://, or in an index on this
	// machine file:///. It is a tar.gz, a zip, or the binary itself.
	URI string `json:"uri"`
	// SHA256 is the artifact's hash, 64 hexadecimal digits in lower case.
	SHA256 string `json:"sha256"`
	// Size of the artifact in bytes.
	Size int64 `json:"size"`
	// Bin is the path of the binary in the archive; harmony-NAME when empty.
	Bin string `json:"bin,omitempty"`
}

// Binary is the path of a plugin's executable in the archive.
func (a Artifact) Binary(name string) string { return cmp.Or(a.Bin, Prefix+name) }

// Problems collects the problems of a document, by field.
type Problems struct{ found protocol.FieldErrors }

// Add adds a problem of a field.
func (p *Problems) Add(field, format string, args ...any) {
	p.found = append(p.found, protocol.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
}

// Err is all problems, as [protocol.FieldErrors], or nil.
func (p *Problems) Err() error {
	if p.found == nil {
		return nil
	}
	return p.found
}

// Validate adds the problems of the hash and the size of the artifact at field.
func (a Artifact) Validate(p *Problems, field string) {
	if !ValidHash(a.SHA256) {
		p.Add(field+".sha256", "must be a SHA-256, 64 hexadecimal digits in lower case")
	}
	if a.Size <= 0 || a.Size > maxSize {
		p.Add(field+".size", "must be the artifact's size in bytes, at most %d", int64(maxSize))
	}
}

// ValidHash reports whether a text is a SHA-256 in hexadecimal.
func ValidHash(text string) bool { return regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(text) }

// ValidVersion reports whether a text is a semantic version, of at most 128 bytes.
func ValidVersion(text string) bool {
	_, err := semver.StrictNewVersion(text)
	return err == nil && len(text) <= 128
}

// HashFile is the SHA-256 of a file, in hexadecimal.
func HashFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
