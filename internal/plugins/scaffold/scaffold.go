// Package scaffold writes new stage plugins: a smoke stage that keeps the contract,
// with a place for your own checks.
package scaffold

import (
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

// Plugin describes the plugin to write.
type Plugin struct {
	// Name without harmony-.
	Name string
	// Language is one of [Languages].
	Language string
	// Harmony is the suite's version, without a leading v, that a plugin in Go
	// requires; the latest when empty.
	Harmony string
}

// Languages lists the languages of plugins, sorted.
func Languages() []string {
	entries, _ := files.ReadDir("files") // part of the program, and sorted
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Write writes the plugin into the folder harmony-NAME in dir, completely or not at
// all, and returns that folder. An existing folder, an invalid name and an unknown
// language are errors of status protocol.ExitInvalid.
func (p Plugin) Write(dir string) (folder string, err error) {
	if !protocol.ValidName(p.Name) {
		return "", protocol.Invalid("%q cannot name a plugin: lower-case letters, digits and dashes, at most 53, a letter or digit at both ends", p.Name)
	}
	if !slices.Contains(Languages(), p.Language) {
		return "", protocol.Invalid("--language %q is not one of %s", p.Language, strings.Join(Languages(), ", "))
	}
	folder = filepath.Join(dir, "harmony-"+p.Name)
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		return "", protocol.Invalid("%s already exists", folder).WithHint("choose another name, or remove it")
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
	return folder, os.Rename(draft, folder)
}

// fill writes the files. Go files have names that end in .txt, so that they are not
// compiled here.
func (p Plugin) fill(folder string) error {
	from := path.Join("files", p.Language)
	entries, err := files.ReadDir(from)
	if err != nil {
		return err
	}
	version := "@latest"
	if p.Harmony != "" {
		version = "@v" + p.Harmony
	}
	replace := strings.NewReplacer("PLUGIN", p.Name, "@HARMONY", version)
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
		// Whatever the umask: others must not be able to write an executable.
		if err := os.Chmod(filepath.Join(folder, name), mode); err != nil {
			return err
		}
	}
	return nil
}
