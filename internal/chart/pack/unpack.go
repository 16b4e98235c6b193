package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/nationtech/harmony/pkg/protocol"
)

// maxNested is how deep archives of charts may lie in one another.
const maxNested = 5

// budget is what all archives of a chart, with those in them, may still take
// when they are unpacked. Each archive of a chain of archives could be small.
type budget struct {
	bytes   int64
	entries int
}

func newBudget() *budget {
	return &budget{bytes: loader.MaxDecompressedChartSize, entries: maxEntries}
}

// unpack reads a chart's archive: regular files, all of them in one folder, of
// which the name is left out. An archive with anything else, or that would
// become larger than Helm takes, is refused before it is unpacked further.
func unpack(data []byte, left *budget) (tree, error) {
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain := &bounded{from: zip, left: left}
	files, top := tree{}, ""
	for entries := tar.NewReader(plain); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if left.entries--; left.entries < 0 {
			return nil, fmt.Errorf("has over %d files and folders", maxEntries)
		}
		name, err := entryName(header, &top)
		if err != nil {
			return nil, err
		}
		if name == "" {
			continue
		}
		if _, twice := files[name]; twice {
			return nil, fmt.Errorf("entry %q is there twice", header.Name)
		}
		if files[name], err = io.ReadAll(entries); err != nil {
			return nil, err
		}
		files[name] = bytes.TrimPrefix(files[name], utf8BOM)
	}
	if len(files) == 0 {
		return nil, errors.New("holds no files")
	}
	return files, nil
}

// entryName is the name of a file in the chart, or empty for what holds no
// bytes of it. The first entry says which is the chart's folder.
func entryName(header *tar.Header, top *string) (string, error) {
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeXGlobalHeader:
		return "", nil
	default:
		return "", fmt.Errorf("entry %q is neither a file nor a folder but, such as a link, of type %q", header.Name, header.Typeflag)
	}
	if err := checkName(header.Name); err != nil {
		return "", err
	}
	name := path.Clean(header.Name)
	folder, file, _ := strings.Cut(name, "/")
	if path.IsAbs(header.Name) || folder == ".." || strings.Contains("/"+header.Name+"/", "/../") {
		return "", fmt.Errorf("entry %q leaves the chart", header.Name)
	}
	if *top == "" && folder != "." {
		*top = folder
	}
	switch {
	case header.Typeflag == tar.TypeDir:
		return "", nil
	case folder != *top || file == "":
		return "", fmt.Errorf("entry %q is outside of the chart's folder %q", header.Name, *top)
	case header.Size > loader.MaxDecompressedFileSize:
		return "", fmt.Errorf("entry %q has %d bytes; Helm takes %d at most", header.Name, header.Size, loader.MaxDecompressedFileSize)
	}
	return file, nil
}

// bounded gives out no more than the budget.
type bounded struct {
	from io.Reader
	left *budget
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left.bytes <= 0 {
		return 0, fmt.Errorf("unpacks to over %d bytes, the most that Helm takes", loader.MaxDecompressedChartSize)
	}
	if int64(len(p)) > b.left.bytes {
		p = p[:b.left.bytes]
	}
	n, err := b.from.Read(p)
	b.left.bytes -= int64(n)
	return n, err
}

// checkVendored looks into the charts that the files hold, and into those in
// them: their archives, and what their Chart.yaml calls itself.
func checkVendored(files tree, left *budget, depth int) error {
	for _, name := range files.names() {
		below, vendored := strings.CutPrefix(name, "charts/")
		if !vendored || strings.HasPrefix(below, "_") || strings.HasPrefix(below, ".") {
			continue
		}
		switch {
		case !strings.Contains(below, "/") && path.Ext(below) == ".tgz":
			if depth == maxNested {
				return protocol.Invalid("%s: archives lie in one another, over %d deep", name, maxNested)
			}
			inside, err := unpack(files[name], left)
			if err == nil {
				err = checkIdentity(inside[chartFile])
			}
			if err == nil {
				err = checkVendored(inside, left, depth+1)
			}
			if err != nil {
				return protocol.Invalid("%s: %w", name, err)
			}
		case path.Base(below) == chartFile && strings.Count(below, "/") == 1:
			if err := checkIdentity(files[name]); err != nil {
				return protocol.Invalid("charts/%s: %w", path.Dir(below), err)
			}
			if err := checkVendored(files.under(path.Dir(name)), left, depth+1); err != nil {
				return protocol.Invalid("charts/%s: %w", path.Dir(below), err)
			}
		}
	}
	return nil
}

// under is the files of a folder, by their path in it.
func (t tree) under(folder string) tree {
	inside := tree{}
	for name, data := range t {
		if below, ok := strings.CutPrefix(name, folder+"/"); ok {
			inside[below] = data
		}
	}
	return inside
}
