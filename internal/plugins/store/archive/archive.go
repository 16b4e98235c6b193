// Package archive unpacks what a plugin is delivered in: a tar.gz, a zip or the
// bare executable. It writes regular files and folders below one folder, and
// refuses everything else that an archive can hold.
package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Limits bound what an archive grows to.
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

// LimitsFor are those for an archive of a size: fifty times as much, but at
// least 64 MiB and at most 1 GiB, in ten thousand entries.
func LimitsFor(size int64) Limits {
	return Limits{Bytes: min(mostBytes, max(leastBytes, growth*size)), Entries: mostEntries}
}

// Unpack writes the content of an archive below a folder that exists and is
// empty. What is neither tar.gz nor zip has to be an executable, and becomes the
// file of the name bare. Where it fails, files are left for the caller to remove.
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
	w := newWriter(ctx, root, limits)
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

// isProgram knows the first bytes of an executable: ELF, Mach-O, a script.
func isProgram(start []byte) bool {
	for _, magic := range []string{"\x7fELF", "#!", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
		if bytes.HasPrefix(start, []byte(magic)) {
			return true
		}
	}
	return false
}
