// Package scaffold writes new stage plugins: a smoke stage that keeps the
// contract, with a place for checks of one's own.
package scaffold

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

//go:embed files
var files embed.FS

// Plugin is what is written.
type Plugin struct {
	// Name without harmony-.
	Name string
	// Language is one of [Languages].
	Language string
	// Harmony is the suite's version, without a leading v, that a plugin in Go
	// asks for; the latest when empty.
	Harmony string
}

// Languages are those that a plugin can be written in, in the order of the
// alphabet.
func Languages() []string {
	entries, err := files.ReadDir("files")
	if err != nil {
		return nil // it is part of the program
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// Write writes the plugin into the folder harmony-NAME below dir, and returns
// that folder. It is there completely or not at all. A folder that is there
// already, a name that is none and an unknown language are errors of status
// protocol.ExitInvalid.
func (p Plugin) Write(dir string) (folder string, err error) {
	if !protocol.ValidName(p.Name) {
		return "", protocol.Invalid("%q cannot name a plugin: lower-case letters, digits and dashes, at most 53, a letter or digit at both ends", p.Name)
	}
	if !slices.Contains(Languages(), p.Language) {
		return "", protocol.Invalid("--language %q is not one of %s", p.Language, strings.Join(Languages(), ", "))
	}
	folder = filepath.Join(dir, "harmony-"+p.Name)
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		return "", protocol.Invalid("%s is there already", folder).WithHint("choose another name, or remove it")
	}
	draft, err := os.MkdirTemp(dir, ".harmony-new-")
	if err != nil {
		return "", protocol.Invalid("%w", err)
	}
	defer os.RemoveAll(draft)
	if err := p.fill(draft); err != nil {
		return "", fmt.Errorf("write plugin %s: %w", p.Name, err)
	}
	if err := os.Chmod(draft, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(draft, folder); err != nil {
		return "", err
	}
	return folder, nil
}

// fill writes the files. A name that ends in .txt keeps files of Go from being
// read as such here.
func (p Plugin) fill(folder string) error {
	from := path.Join("files", p.Language)
	entries, err := files.ReadDir(from)
	if err != nil {
		return err
	}
	replace := strings.NewReplacer("PLUGIN", p.Name, "@HARMONY", "@"+cmp.Or(p.version(), "latest"))
	for _, e := range entries {
		text, err := files.ReadFile(path.Join(from, e.Name()))
		if err != nil {
			return err
		}
		name := replace.Replace(strings.TrimSuffix(e.Name(), ".txt"))
		mode := fs.FileMode(0o644)
		if name == "harmony-"+p.Name {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(replace.Replace(string(text))), mode); err != nil {
			return err
		}
		// Whatever the umask: others must not be able to write what is run.
		if err := os.Chmod(filepath.Join(folder, name), mode); err != nil {
			return err
		}
	}
	return nil
}

// version is the suite's version as Go names it.
func (p Plugin) version() string {
	if p.Harmony == "" {
		return ""
	}
	return "v" + p.Harmony
}
