package index

import (
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The index that is used when none is configured: that of the project.
const (
	DefaultName = "default"
	DefaultURL  = "https://harmony.nationtech.io/plugin-index"
)

// Index is one configured index.
type Index struct {
	// Name is how a person calls it.
	Name string `json:"name"`
	// URL is a git repository (git+https://, ssh://, git+file:/// or any that ends
	// in .git), an OCI artifact (oci://), an https tree or a folder.
	URL string `json:"url"`
	// Key is the public key that every manifest is signed with: a minisign key,
	// one line that begins with RW, or a cosign key in PEM. Empty when the index
	// is not signed.
	Key string `json:"key,omitempty"`
}

// Found is a plugin that an index offers.
type Found struct {
	Index    Index
	Manifest Manifest
}

// Outside reports whether the index lies elsewhere, so that what it names must not
// lead to this machine.
func (f Found) Outside() bool {
	source, err := parseLocation(f.Index.URL)
	return err != nil || !source.local && !source.here
}

// Dirs are the folders of the user in which this package keeps files. Each is
// that of harmony: ~/.config/harmony and so on.
type Dirs struct{ Config, Cache, State string }

// DirsOf finds the folders by the environment: XDG_CONFIG_HOME, XDG_CACHE_HOME
// and XDG_STATE_HOME, or their defaults in HOME.
func DirsOf(getenv func(string) string) (Dirs, error) {
	home := getenv("HOME")
	folder := func(variable, otherwise string) string {
		base := getenv(variable)
		if !filepath.IsAbs(base) {
			base = filepath.Join(home, otherwise)
		}
		return filepath.Join(base, "harmony")
	}
	cache, err := cachedir.Folder(getenv)
	if err != nil {
		return Dirs{}, err
	}
	d := Dirs{folder("XDG_CONFIG_HOME", ".config"), cache, folder("XDG_STATE_HOME", ".local/state")}
	for _, dir := range []string{d.Config, d.State} {
		if !filepath.IsAbs(dir) {
			return Dirs{}, protocol.Invalid("HOME is not set: there is no folder for the plugin indexes").
				WithHint("set HOME, or XDG_CONFIG_HOME and XDG_STATE_HOME")
		}
	}
	return d, nil
}

// DefaultDirs are those of this process's environment.
func DefaultDirs() (Dirs, error) { return DirsOf(os.Getenv) }
