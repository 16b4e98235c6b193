// Package config reads harmony.yaml, a project's applications and topologies,
// and knows the topologies that are built in.
//
// A harmony.yaml is read strictly: an unknown or repeated field, a wrong type
// or a value that cannot be right is an error with its line, and all of them
// are told at once.
package config

import (
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

// Project is what a harmony.yaml holds.
type Project struct {
	// File is the absolute path of the harmony.yaml, or of what stands in its
	// place, and Root its folder.
	File, Root string
	// Name is the folder's name as a DNS label: the built-in topologies derive
	// their namespaces from it.
	Name string
	// Apps are in the order of the file. Their ProjectRoot is absolute.
	Apps []protocol.AppSpec
	// Topologies are those that the project defines itself, in the order of the
	// file.
	Topologies []protocol.Topology
	// Pipelines are in the order of the file.
	Pipelines []protocol.Pipeline
}

// Find returns the absolute path of the harmony.yaml in dir or in the nearest
// folder above it, up to the top of the git work tree, the user's home or the
// file system. When there is none the error is of status protocol.ExitInvalid
// and wraps [ErrNoFile]. A file that another user could have written is refused:
// it says what is built and where it goes.
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
	return "", missing.WithHint("go to the project's folder, name the file with --file, or write one: see the README, \"A first app\"")
}

// isTop reports whether no folder above belongs to the project.
func isTop(folder string) bool {
	home, _ := os.UserHomeDir() // "" is no folder
	above := filepath.Dir(folder)
	if folder == above || folder == home {
		return true
	}
	if _, err := os.Lstat(filepath.Join(folder, ".git")); err == nil {
		return true
	}
	info, err := os.Stat(folder)
	if err != nil {
		return true
	}
	outer, err := os.Stat(above)
	return err != nil || !sameDevice(info, outer)
}

// distrust is the error for a harmony.yaml that was found, not named, and that
// others could have written. A CI runner's workspace may belong to another user
// than that of the job's container.
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
		WithHint("if you trust it, name it: --file %s; or %s", displayName(file), protocol.HintOf(err))
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
	project := &Project{File: abs, Root: root, Name: label(filepath.Base(root))}
	found := &problems{file: displayName(abs)}
	documents := parse(data, found)
	if len(documents) == 0 && len(found.found) == 0 {
		found.add(0, "", "is empty; it holds documents of kind %s", strings.Join(kinds, " and "))
	}
	resolveRoots(root, documents, found)
	crossCheck(documents, found)
	if len(found.found) > 0 {
		return nil, protocol.Invalid("%w", found)
	}
	for _, d := range documents {
		switch {
		case d.app != nil:
			project.Apps = append(project.Apps, *d.app)
		case d.topology != nil:
			project.Topologies = append(project.Topologies, *d.topology)
		default:
			project.Pipelines = append(project.Pipelines, *d.pipeline)
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
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("is larger than %d bytes", maxFile)
	}
	return data, nil
}

// withoutPath is the cause alone, for a message that names the file itself.
func withoutPath(err error) error {
	var failure *fs.PathError
	if errors.As(err, &failure) {
		return failure.Err
	}
	return err
}

// displayName is the file relative to the working directory where that is
// short, so that it can be read and clicked.
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

// resolveRoots makes the project roots of the apps absolute. They lie in the
// folder of harmony.yaml or elsewhere in its git work tree: with another root
// every file of the machine would be one of the project.
func resolveRoots(root string, documents []document, p *problems) {
	top := workTree(root)
	for _, d := range documents {
		if d.app == nil {
			continue
		}
		folder := filepath.FromSlash(d.app.ProjectRoot)
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
		d.app.ProjectRoot = folder
	}
}

// workTree is the top of the git work tree that the folder lies in, or the
// folder itself.
func workTree(folder string) string {
	for above := folder; above != filepath.Dir(above); above = filepath.Dir(above) {
		if _, err := os.Lstat(filepath.Join(above, ".git")); err == nil {
			return above
		}
	}
	return folder
}

// within reports whether a folder, wherever links lead, is top or lies in it.
func within(top, folder string) bool {
	realTop, err := filepath.EvalSymlinks(top)
	if err != nil {
		return false
	}
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(realTop, real)
	return err == nil && filepath.IsLocal(rel)
}

// maxLabel leaves room for "-production" in the 63 bytes of a namespace.
const maxLabel = 52

// label makes a DNS label of a folder's name: MyShop 2 becomes myshop-2.
func label(name string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(name) {
		if c < 'a' || c > 'z' {
			if c < '0' || c > '9' {
				c = '-'
			}
		}
		b.WriteRune(c)
	}
	s := strings.Join(strings.FieldsFunc(b.String(), func(c rune) bool { return c == '-' }), "-")
	s = strings.TrimRight(s[:min(len(s), maxLabel)], "-")
	if s == "" {
		return "project"
	}
	return s
}

// sameDevice reports whether two files are on one file system.
func sameDevice(a, b fs.FileInfo) bool {
	one, ok := a.Sys().(*syscall.Stat_t)
	other, too := b.Sys().(*syscall.Stat_t)
	return ok && too && one.Dev == other.Dev
}
