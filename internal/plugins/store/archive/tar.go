package archive

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// untar reads a tar.gz to its very end, so that a cut one is noticed.
func (w *writer) untar(archive io.Reader) error {
	unzipped, err := gzip.NewReader(archive)
	if err != nil {
		return fmt.Errorf("read the tar.gz: %w", err)
	}
	// Headers and padding count as well: they are what a bomb could be made of.
	entries := tar.NewReader(io.LimitReader(unzipped, w.limits.Bytes+int64(w.limits.Entries)*4096))
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the tar.gz: %w", err)
		}
		if err := w.member(header, entries); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, w.counted(unzipped)); err != nil {
		return fmt.Errorf("read the end of the tar.gz: %w", err)
	}
	return nil
}

// member writes one entry of a tar.
func (w *writer) member(header *tar.Header, content io.Reader) error {
	mode := header.FileInfo().Mode()
	switch header.Typeflag {
	case tar.TypeXGlobalHeader: // what git archive says of the commit
		return nil
	case tar.TypeDir:
		return w.folder(header.Name, mode)
	case tar.TypeReg:
		if mode.IsDir() { // a file whose name ends with a slash
			mode = fs.ModeIrregular
		}
		return w.file(header.Name, mode, content)
	case tar.TypeLink, tar.TypeSymlink:
		mode = mode&^fs.ModeType | fs.ModeSymlink
	default:
		if mode.IsRegular() {
			mode |= fs.ModeIrregular
		}
	}
	_, err := w.entry(header.Name, mode)
	if err == nil {
		err = fmt.Errorf("entry %s has the type %q: only files and folders are taken", show(header.Name), header.Typeflag)
	}
	return err
}
