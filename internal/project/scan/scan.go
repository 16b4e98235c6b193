// Package scan finds what a repository says about its images and charts, in the formats
// of other tools, and proposes the apps of a harmony.yaml.
//
// A repository is untrusted: what is read is bounded, links are not followed, nothing is
// executed, and a file that cannot be read is a note, not an error.
package scan

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// maxFile is the size of the largest file that is read, in bytes.
	maxFile = 1 << 20
	// maxEntries is how many files and folders are looked at.
	maxEntries = 100_000
	// maxManifests is how many files of Kubernetes objects are read.
	maxManifests = 2_000
)

// Note is a remark about a file.
type Note struct {
	// File is relative to the project, with slashes; Line counts from 1, and is 0 for the
	// whole file.
	File string
	Line int
	Text string
}

// String is the note as FILE:LINE: TEXT.
func (n Note) String() string { return n.place() + ": " + n.Text }

func (n Note) place() string {
	if n.Line == 0 {
		return n.File
	}
	return fmt.Sprintf("%s:%d", n.File, n.Line)
}

// Origins of an image, the most telling ones first.
const (
	ofSkaffold = iota
	ofCompose
	ofWerf
	ofDockerfile
	ofGo
	ofStatic
)

// Image is something that an image can be built from.
type Image struct {
	// Name is what the file calls it, or that of its folder; "" for one at the top of the
	// project.
	Name string
	// File and Line are where it was found.
	File string
	Line int
	// Source is how it is built, and Folder the folder of its sources.
	Source protocol.ImageSource
	Folder string
	// Workload is how it runs, as far as it is known.
	Workload protocol.Workload
	// DependsOn names other images.
	DependsOn []string
	// Open is what is not known about how it runs.
	Open []Note

	origin int
}

// Chart is a Helm chart.
type Chart struct {
	// Name is that in Chart.yaml, and Folder its folder.
	Name, Folder string
	// Mentions are the names of the images in values.yaml, without registry and tag.
	Mentions []string
	// Unfit says why the chart is not an app's, if it is not.
	Unfit string
}

// Release is a chart's release by another tool.
type Release struct {
	// Tool is the file format, and File and Line are where it was found.
	Tool, File string
	Line       int
	// Name is the release's. Chart is the chart's folder, "" for a chart of others.
	Name, Chart string
	// Images are the names of the images that the tool sets in the chart.
	Images []string
}

// Found is everything that was found.
type Found struct {
	Images   []Image
	Charts   []Chart
	Releases []Release
	// Parts are charts of others that the project's charts consist of.
	Parts []Part
	// Notes tell what was found, and Unclear what was not understood.
	Notes, Unclear []Note
}

func (f *Found) note(file string, line int, format string, args ...any) {
	f.Notes = append(f.Notes, Note{file, line, fmt.Sprintf(format, args...)})
}

func (f *Found) unclear(file string, line int, format string, args ...any) {
	f.Unclear = append(f.Unclear, Note{file, line, fmt.Sprintf(format, args...)})
}

// scanner goes through a project.
type scanner struct {
	fsys      fs.FS
	found     Found
	entries   int
	manifests int
	// packages are the folders with Go files, modules those with a go.mod, in order.
	packages, modules []string
	sites             []string
	charts            map[string]bool
}

// Project reads everything in a project's folder. The error is that of reading the folder
// itself, or of ctx.
func Project(ctx context.Context, fsys fs.FS) (Found, error) {
	s := &scanner{fsys: fsys, charts: map[string]bool{}}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && name == ".":
			return err
		case err != nil:
			s.found.unclear(name, 0, "%v", cause(err))
			return fs.SkipDir
		}
		if s.entries++; s.entries > maxEntries {
			s.found.unclear(name, 0, "the project has over %d files; from here on, nothing was read", maxEntries)
			return fs.SkipAll
		}
		if entry.IsDir() {
			return s.folder(name)
		}
		if entry.Type().IsRegular() {
			s.file(name)
		}
		return nil
	})
	if err != nil {
		return Found{}, err
	}
	s.programs()
	s.static()
	return s.found, nil
}

// skipped are folders whose content is not the project's own, or does not run.
var skipped = strings.Fields("node_modules vendor testdata third_party target venv __pycache__")

func (s *scanner) folder(name string) error {
	base := path.Base(name)
	switch {
	case name == ".":
	case slices.Contains(skipped, base), strings.HasPrefix(base, "_"), base != werfChart && strings.HasPrefix(base, "."):
		return fs.SkipDir
	case s.charts[path.Dir(name)] && slices.Contains([]string{"templates", "charts", "crds", "ci", "tests"}, base):
		return fs.SkipDir // subcharts are not apps, and templates are not YAML
	case s.exists(path.Join(name, "harmony.yaml")):
		s.found.note(path.Join(name, "harmony.yaml"), 0, "a project of its own; its folder was not read")
		return fs.SkipDir
	}
	if s.exists(path.Join(name, "Chart.yaml")) {
		s.charts[name] = true
	}
	return nil
}

// file reads one file of the project, if its name says what it is.
func (s *scanner) file(name string) {
	base := path.Base(name)
	switch reader := readerOf(base); {
	case reader != nil:
		if data, ok := s.read(name); ok {
			reader(&s.found, s, name, data)
		}
	case base == "go.mod":
		s.modules = append(s.modules, path.Dir(name))
	case path.Ext(base) == ".go" && !strings.HasSuffix(base, "_test.go"):
		if dir := path.Dir(name); !slices.Contains(s.packages, dir) {
			s.packages = append(s.packages, dir)
		}
	case base == "index.html":
		s.sites = append(s.sites, path.Dir(name))
	case isYAML(base) && s.manifests < maxManifests && !s.charts[path.Dir(name)]:
		s.manifests++
		if data, ok := s.read(name); ok && isManifest(data) {
			readManifests(&s.found, s, name, data)
		}
	}
}

// reader reads a file of one format.
type reader func(found *Found, s *scanner, name string, data []byte)

// readerOf is the reader of files of that name; nil when the name alone does not tell.
func readerOf(base string) reader {
	switch stem, isYAML := yamlStem(base); {
	case base == "Chart.yaml":
		return readChart
	case isYAML && stem == "skaffold":
		return readSkaffold
	case isYAML && stem == "helmfile", base == "helmfile.yaml.gotmpl":
		return readHelmfile
	case isYAML && stem == "werf":
		return readWerf
	case isYAML && (stem == "compose" || stem == "docker-compose"):
		return readCompose
	case isDockerfile(base):
		return readDockerfile
	}
	return nil
}

// One reads a single file of the project. The error, of status protocol.ExitInvalid, is
// for a file that cannot be read or has none of the formats.
func One(fsys fs.FS, name string) (Found, error) {
	s := &scanner{fsys: fsys, charts: map[string]bool{}}
	data, ok := s.read(name)
	if !ok {
		return Found{}, protocol.Invalid("read %s: %s", name, s.found.Unclear[0].Text)
	}
	read := readerOf(path.Base(name))
	if read == nil {
		read = readerByContent(data)
	}
	if read == nil {
		return Found{}, protocol.Invalid("%s has none of the formats that init reads", name).WithHint(
			"they are Dockerfile, Chart.yaml, skaffold.yaml, helmfile.yaml, werf.yaml, compose.yaml, Applications of Argo CD and HelmReleases of Flux")
	}
	s.fsys = noFiles{}
	read(&s.found, s, name, data)
	return s.found, nil
}

// noFiles is a project in which no other file is read.
type noFiles struct{}

func (noFiles) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// read reads a file, and notes one that cannot be read.
func (s *scanner) read(name string) ([]byte, bool) {
	file, err := s.fsys.Open(name)
	if err != nil {
		s.found.unclear(name, 0, "%v", cause(err))
		return nil, false
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("is larger than %d bytes", maxFile)
	}
	if err != nil {
		s.found.unclear(name, 0, "%v", cause(err))
	}
	return data, err == nil
}

func (s *scanner) exists(name string) bool {
	_, err := fs.Stat(s.fsys, name)
	return err == nil
}

// cause is the error without the path, which the note has.
func cause(err error) error {
	if failure, ok := err.(*fs.PathError); ok { //nolint:errorlint // only the outermost one has the path
		return failure.Err
	}
	return err
}

// within is a path of the project, given relative to one of its folders; false when it
// leads out of the project.
func within(folder, name string) (string, bool) {
	joined := path.Join(folder, name)
	return joined, !path.IsAbs(name) && fs.ValidPath(joined) && !strings.Contains(name, "\\")
}
