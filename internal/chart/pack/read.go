package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/ignore"

	"github.com/nationtech/harmony/internal/chart/builder"
	"github.com/nationtech/harmony/internal/chart/workload"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxEntries bounds the files and folders of a chart. Folders that link to one
// another would otherwise never end.
const maxEntries = 10_000

// utf8BOM is what some editors begin a file with. Helm leaves it out too.
var utf8BOM = []byte("\xef\xbb\xbf")

// reader reads a chart's folder, and nothing outside of it: the root refuses a
// symbolic link that leads out.
type reader struct {
	root    *os.Root
	rules   *ignore.Rules
	files   tree
	entries int
	bytes   int64
}

// read returns the files of the folder that .helmignore does not leave out.
func read(ctx context.Context, dir string) (tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, protocol.Invalid("chart folder: %w", err)
	}
	defer root.Close()
	r := &reader{root: root, files: tree{}}
	if r.rules, err = readRules(root); err != nil {
		return nil, protocol.Invalid("chart %s: %s: %w", dir, ignore.HelmIgnore, err)
	}
	if err := r.folder(ctx, "."); err != nil {
		return nil, fmt.Errorf("chart %s: %w", dir, err)
	}
	return r.files, nil
}

func readRules(root *os.Root) (*ignore.Rules, error) {
	rules := ignore.Empty()
	data, err := root.ReadFile(ignore.HelmIgnore)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if rules, err = ignore.Parse(bytes.NewReader(data)); err != nil {
			return nil, err
		}
	}
	rules.AddDefaults()
	return rules, nil
}

func (r *reader) folder(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := r.root.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, e := range entries {
		if r.entries++; r.entries > maxEntries {
			return protocol.Invalid("has over %d files and folders", maxEntries).
				WithHint("leave out what is not the chart's in %s; is there a symbolic link to a folder above itself?", ignore.HelmIgnore)
		}
		if err := r.entry(ctx, path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) entry(ctx context.Context, name string) error {
	// Nothing else is checked of an ignored file, not even where a link leads.
	if info, err := r.root.Lstat(name); err == nil && r.rules.Ignore(name, info) {
		return nil
	}
	info, err := r.root.Stat(name)
	if err != nil {
		return protocol.Invalid("%q: %w", name, err).WithHint("a symbolic link in a chart stays within it")
	}
	switch {
	case r.rules.Ignore(name, info):
		return nil
	case info.IsDir():
		return r.folder(ctx, name)
	case !info.Mode().IsRegular():
		return protocol.Invalid("%q is neither a file nor a folder (%s)", name, info.Mode().Type())
	}
	return r.file(name, info.Size())
}

func (r *reader) file(name string, size int64) error {
	if err := checkName(name); err != nil {
		return protocol.Invalid("%w", err)
	}
	if size > loader.MaxDecompressedFileSize {
		return protocol.Invalid("%q has %d bytes; Helm takes %d at most", name, size, loader.MaxDecompressedFileSize)
	}
	if r.bytes += size; r.bytes > loader.MaxDecompressedChartSize {
		return protocol.Invalid("is over %d bytes, the most that Helm takes", loader.MaxDecompressedChartSize)
	}
	data, err := r.root.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	r.files[name] = bytes.TrimPrefix(data, utf8BOM)
	return nil
}

// checkName refuses a name that other systems would read as a path, or that a
// terminal would obey.
func checkName(name string) error {
	for _, c := range name {
		if c == '\\' || !unicode.IsPrint(c) {
			return fmt.Errorf("%q: a file name in a chart has no %q", name, c)
		}
	}
	return nil
}

// Source is a chart that is not packaged yet.
type Source struct {
	// Name is how errors call the chart: its path, or what made it.
	Name string
	// Files are the chart's files by their path in it, with slashes. Packaging
	// changes Chart.yaml and values.yaml.
	Files map[string][]byte
	// Image tells where the chart's values take the image, and Images the app's
	// further images, by their names.
	Image  protocol.ImagePlaces
	Images map[string]protocol.ImagePlaces
}

// imagesOf are the places of each further image of the app, empty where none is
// said.
func (s Source) imagesOf(app protocol.AppSpec) map[string]protocol.ImagePlaces {
	if len(app.Images) == 0 {
		return nil
	}
	all := map[string]protocol.ImagePlaces{}
	for name := range app.Images {
		all[name] = s.Images[name]
	}
	return all
}

// Read reads the chart in a folder, without what .helmignore leaves out, or in
// an archive (.tgz). A chart that is larger than Helm takes, that holds anything
// but files, or of which a part lies outside of it, is an error of status
// protocol.ExitInvalid.
func Read(ctx context.Context, path string) (Source, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && strings.HasSuffix(path, ".tgz") {
		files, err := readArchive(path, info.Size())
		return Source{Name: path, Files: files}, err
	}
	files, err := read(ctx, path)
	return Source{Name: path, Files: files}, err
}

func readArchive(path string, size int64) (tree, error) {
	if size > loader.MaxDecompressedChartSize {
		return nil, protocol.Invalid("chart %s has %d bytes; Helm takes %d at most", path, size, loader.MaxDecompressedChartSize)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, protocol.Invalid("chart archive: %w", err)
	}
	files, err := unpack(data, newBudget())
	if err != nil {
		return nil, protocol.Invalid("chart %s: %w", path, err)
	}
	return files, nil
}

// sourceOf is the chart that the app names: a path, what an app plugin makes, or
// what is generated from the app's workload.
func sourceOf(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (source Source, err error) {
	switch {
	case app.Chart.Workload != nil:
		files, err := workload.Files(app)
		return Source{Name: "of spec.chart.workload", Files: files, Image: app.Chart.ImagePlaces()}, err
	case app.Chart.Builder != nil:
		err = builder.Ask(ctx, app, image, func(dir string, ref protocol.ChartRef) error {
			source, err = Read(ctx, dir)
			source.Image, source.Images = ref.Image, ref.Images
			return err
		})
	default:
		source, err = Read(ctx, filepath.Join(app.ProjectRoot, app.Chart.Path))
		source.Image, source.Images = app.Chart.Image, map[string]protocol.ImagePlaces{}
		for name, further := range app.Images {
			source.Images[name] = further.Chart
		}
	}
	return source, err
}
