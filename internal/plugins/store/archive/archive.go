// Package archive unpacks plugin archives: a tar.gz, a zip or the bare executable. It
// writes regular files and folders into one folder, and refuses all other entries.
package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// Limits bound the unpacked size of an archive.
type Limits struct {
	// Bytes is the size of all files together.
	Bytes int64
	// Entries is the number of files and folders.
	Entries int
}

const (
	leastBytes   = 64 << 20
	mostBytes    = 1 << 30
	growth       = 50
	mostEntries  = 10_000
	permFile     = 0o644
	permProgram  = 0o755
	permFolder   = 0o755
	executeBits  = 0o111
	magicLength  = 4
	longestShown = 200
)

// LimitsFor are the limits for an archive of that many bytes: fifty times its size, at
// least 64 MiB and at most 1 GiB, in ten thousand entries.
func LimitsFor(size int64) Limits {
	return Limits{Bytes: min(mostBytes, max(leastBytes, growth*size)), Entries: mostEntries}
}

// Unpack writes the content of an archive into an existing, empty folder. A file that
// is neither tar.gz nor zip must be an executable, and is written as bare. After an
// error, the caller removes the files.
func Unpack(ctx context.Context, archive *os.File, folder, bare string, limits Limits) error {
	info, err := archive.Stat()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	start := make([]byte, magicLength)
	if n, err := archive.ReadAt(start, 0); err != nil && !(errors.Is(err, io.EOF) && n > 0) {
		return fmt.Errorf("read the artifact: %w", err)
	}
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w := &writer{ctx: ctx, root: root, limits: limits, seen: map[string]bool{}}
	switch {
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		return w.untar(archive)
	case bytes.HasPrefix(start, []byte("PK\x03\x04")), bytes.HasPrefix(start, []byte("PK\x05\x06")):
		return w.unzip(archive, info.Size())
	case isProgram(start):
		return w.file(bare, permProgram, archive)
	}
	return errors.New("the artifact is neither a tar.gz, a zip nor an executable")
}

// isProgram recognizes executables by their first bytes: ELF, a script, Mach-O.
func isProgram(start []byte) bool {
	return slices.ContainsFunc([]string{"\x7fELF", "#!", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"}, func(magic string) bool {
		return bytes.HasPrefix(start, []byte(magic))
	})
}

// untar reads a tar.gz to its very end, so that a truncated one is noticed.
func (w *writer) untar(archive io.Reader) error {
	unzipped, err := gzip.NewReader(archive)
	if err != nil {
		return fmt.Errorf("read the tar.gz: %w", err)
	}
	// Headers and padding count too: a bomb could be made of them.
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
	case tar.TypeXGlobalHeader: // git archive stores the commit in it
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
		err = fmt.Errorf("entry %s has the type %q: only files and folders are allowed", show(header.Name), header.Typeflag)
	}
	return err
}

// encrypted is the flag of an entry that needs a password.
const encrypted = 1

func (w *writer) unzip(archive io.ReaderAt, size int64) error {
	reader, err := zip.NewReader(archive, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are checked one by one
		return fmt.Errorf("read the zip: %w", err)
	}
	if err := wholeZip(archive, size, reader); err != nil {
		return err
	}
	for _, file := range reader.File {
		if err := w.zipped(file); err != nil {
			return err
		}
	}
	return nil
}

// Sizes and places in a zip's records.
const (
	zipHeader = 30 // of an entry, before its name
	zipEnd    = 22 // the end of the directory, before its comment
)

// wholeZip refuses bytes before the first entry, and before or after the end of the
// directory: other programs may find another archive in them.
func wholeZip(archive io.ReaderAt, size int64, reader *zip.Reader) error {
	end := make([]byte, zipEnd)
	at := size - zipEnd - int64(len(reader.Comment))
	if _, err := archive.ReadAt(end, at); err != nil {
		return fmt.Errorf("read the zip: %w", err)
	}
	number := binary.LittleEndian
	directory := int64(number.Uint32(end[12:])) + int64(number.Uint32(end[16:])) // its size and offset
	if !bytes.HasPrefix(end, []byte("PK\x05\x06")) || directory != at {
		return errors.New("the zip has bytes before or after its end")
	}
	if len(reader.File) == 0 {
		return nil
	}
	first := make([]byte, zipHeader)
	if _, err := archive.ReadAt(first, 0); err != nil {
		return fmt.Errorf("read the zip: %w", err)
	}
	content := zipHeader + int64(number.Uint16(first[26:])) + int64(number.Uint16(first[28:])) // after name and extra field
	for _, file := range reader.File {
		if offset, err := file.DataOffset(); err == nil && offset == content {
			return nil
		}
	}
	return errors.New("the zip has bytes before its first entry")
}

// zipped writes one entry of a zip.
func (w *writer) zipped(file *zip.File) error {
	mode := file.Mode()
	if mode.IsDir() {
		return w.folder(file.Name, mode)
	}
	if file.Flags&encrypted != 0 {
		return fmt.Errorf("entry %s is encrypted", show(file.Name))
	}
	content, err := file.Open()
	if err != nil {
		return within(file.Name, err)
	}
	defer content.Close()
	return w.file(file.Name, mode, content)
}
