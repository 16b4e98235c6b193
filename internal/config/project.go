// Package config reads harmony.yaml, a project's applications, topologies and
// pipelines, and has the built-in topologies.
//
// A harmony.yaml is read strictly: an unknown or repeated field, a wrong type and an
// invalid value are errors with their line, and all of them are reported at once.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nationtech/harmony/internal/cli/owner"
	"github.com/nationtech/harmony/pkg/protocol"
)

// FileName is the name of a project's configuration.
const FileName = "harmony.yaml"

// ErrNoFile is that of [Find] where there is no harmony.yaml.
var ErrNoFile = errors.New("no " + FileName)

// maxFile is the size of the largest harmony.yaml, in bytes.
const maxFile = 1 << 20

// Project is the content of a harmony.yaml.
type Project struct {
	// File is the absolute path of the harmony.yaml, or of an app plugin in its place,
	// and Root its folder.
	File, Root string
	// Name is the folder's name as a DNS label: the built-in topologies derive
	// their namespaces from it.
	Name string
	// Apps are in the order of the file. Their ProjectRoot is absolute.
	Apps []protocol.AppSpec
	// Topologies are the project's own, in the order of the file.
	Topologies []protocol.Topology
	// Pipelines are in the order of the file.
	Pipelines []protocol.Pipeline
}

// Find returns the absolute path of the harmony.yaml in dir, the current folder when
// empty, or in the nearest folder above it, up to the top of the git work tree, the
// user's home or the file system. If there is none, the error is of status protocol.ExitInvalid and wraps [ErrNoFile]. A
// file that another user could have written is refused: it decides what is built and
// deployed.
func Find(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", FileName, err)
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		file := filepath.Join(folder, FileName)
		info, err := os.Stat(file)
		switch {
		case err == nil && !info.IsDir():
			return file, distrust(file)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", protocol.Invalid("find %s: %w", FileName, err)
		}
		if isTop(folder) {
			break
		}
	}
	missing := protocol.Invalid("%w in %s or above it", ErrNoFile, start)
	if _, err := os.Stat(filepath.Join(start, "harmony.yml")); err == nil {
		return "", missing.WithHint("rename harmony.yml to %s", FileName)
	}
	return "", missing.WithHint("change to the project's folder, name the file with --file, or write one: harmony init")
}

// isTop reports whether no parent folder belongs to the project.
func isTop(folder string) bool {
	home, _ := os.UserHomeDir() // "" is not a folder
	above := filepath.Dir(folder)
	if folder == above || folder == home || isWorkTree(folder) {
		return true
	}
	info, err := os.Stat(folder)
	if err != nil {
		return true
	}
	outer, err := os.Stat(above)
	return err != nil || !sameDevice(info, outer)
}

// isWorkTree reports whether a folder is the top of a git work tree.
func isWorkTree(folder string) bool {
	_, err := os.Lstat(filepath.Join(folder, ".git"))
	return err == nil
}

// distrust is the error for a harmony.yaml that was found, not named, and that others
// could have written. The workspace of a CI runner may belong to another user than that
// of the job's container.
func distrust(file string) error {
	err := owner.Check(file)
	if err == nil {
		return nil
	}
	for _, name := range []string{"GITHUB_WORKSPACE", "CI_PROJECT_DIR"} {
		if rel, err := filepath.Rel(os.Getenv(name), file); os.Getenv(name) != "" && err == nil && filepath.IsLocal(rel) {
			return nil
		}
	}
	if !owner.IsRefusal(err) {
		return protocol.Invalid("find %s: %w", FileName, err)
	}
	return protocol.Invalid("%s was found, but %w", file, err).
		WithHint("if you trust it, use --file %s; or %s", displayName(file), protocol.HintOf(err))
}

// Load reads a harmony.yaml. The error lists every problem, one a line, as
//
//	harmony.yaml:12: spec.image.buidable: unknown field, did you mean buildable?
//
// and is of status protocol.ExitInvalid.
func Load(file string) (*Project, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, protocol.Invalid("read %s: %w", file, err)
	}
	data, err := readLimited(abs)
	if err != nil {
		return nil, protocol.Invalid("read %s: %w", displayName(abs), err)
	}
	root := filepath.Dir(abs)
	project := &Project{File: abs, Root: root, Name: Label(filepath.Base(root))}
	found := &problems{file: displayName(abs)}
	documents := parse(data, found)
	if len(documents) == 0 && len(found.found) == 0 {
		found.add(0, "", "is empty; write documents of kind %s", strings.Join(kinds, ", "))
	}
	resolveRoots(root, documents, found)
	crossCheck(documents, found)
	if err := attachLocks(root, documents, found); err != nil && len(found.found) == 0 {
		return nil, err
	}
	if len(found.found) > 0 {
		return nil, protocol.Invalid("%w", found)
	}
	for _, d := range documents {
		switch spec := d.spec.(type) {
		case *protocol.AppSpec:
			project.Apps = append(project.Apps, *spec)
		case *protocol.Topology:
			project.Topologies = append(project.Topologies, *spec)
		case *protocol.Pipeline:
			project.Pipelines = append(project.Pipelines, *spec)
		}
	}
	return project, nil
}

// readLimited reads a regular file, or a pipe, of at most maxFile bytes.
func readLimited(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("is larger than %d bytes", maxFile)
	}
	return data, withoutPath(err)
}

// withoutPath is the cause of an error, for a message that names the file itself.
func withoutPath(err error) error {
	var failure *fs.PathError
	if errors.As(err, &failure) {
		return failure.Err
	}
	return err
}

// displayName is the path relative to the working directory if that is shorter, for
// messages.
func displayName(file string) string {
	dir, err := os.Getwd()
	if err != nil {
		return file
	}
	if rel, err := filepath.Rel(dir, file); err == nil && len(rel) < len(file) {
		return rel
	}
	return file
}

// resolveRoots makes the project roots of the apps absolute. They must be in the folder
// of harmony.yaml or in its git work tree: otherwise the project could read any file of
// the machine.
func resolveRoots(root string, documents []document, p *problems) {
	top := workTree(root)
	for _, d := range documents {
		app, ok := d.spec.(*protocol.AppSpec)
		if !ok {
			continue
		}
		folder := filepath.FromSlash(app.ProjectRoot)
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(root, folder)
		}
		const field = "spec.projectRoot"
		switch info, err := os.Stat(folder); {
		case err != nil:
			p.add(d.line(field), field, "%s: %v", folder, withoutPath(err))
		case !info.IsDir():
			p.add(d.line(field), field, "%s is not a folder", folder)
		case !within(top, folder):
			p.add(d.line(field), field, "%s is outside of %s: it must be in the folder of %s or in the same git work tree", folder, top, FileName)
		}
		app.ProjectRoot = folder
	}
}

// workTree is the top of the folder's git work tree, or else the folder itself.
func workTree(folder string) string {
	for above := folder; above != filepath.Dir(above); above = filepath.Dir(above) {
		if isWorkTree(above) {
			return above
		}
	}
	return folder
}

// within reports whether a folder, after links are resolved, is top or is inside it.
func within(top, folder string) bool {
	realTop, errTop := filepath.EvalSymlinks(top)
	real, err := filepath.EvalSymlinks(folder)
	if err != nil || errTop != nil {
		return false
	}
	rel, err := filepath.Rel(realTop, real)
	return err == nil && filepath.IsLocal(rel)
}

// maxLabel leaves room for "-production" in the 63 bytes of a namespace.
const maxLabel = 52

// Label makes a DNS label of a folder's name, of at most 52 characters: MyShop 2 becomes
// myshop-2. Without a letter or digit it is project.
func Label(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
	s := strings.Join(words, "-")
	return cmp.Or(strings.TrimRight(s[:min(len(s), maxLabel)], "-"), "project")
}

// sameDevice reports whether two files are on one file system.
func sameDevice(a, b fs.FileInfo) bool {
	one, ok := a.Sys().(*syscall.Stat_t)
	other, too := b.Sys().(*syscall.Stat_t)
	return ok && too && one.Dev == other.Dev
}
