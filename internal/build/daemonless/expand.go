package daemonless

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// An archive may unpack to freeUnpacked bytes in any case, and to more if that
// is not more than maxRatio times its own size. No archive of files that anybody
// needs comes near; bombs go far beyond.
const (
	freeUnpacked = 1 << 30
	maxRatio     = 100
)

// openArchive opens a file as a tar archive that is not compressed, which is a
// temporary one where the file is compressed, and tells how to open that again.
// It is nil for what is no archive.
func (m *maker) openArchive(ctx context.Context, open opener) (*os.File, opener, error) {
	in, err := open.file()
	if err != nil {
		return nil, nil, err
	}
	plain, err := expand(ctx, in)
	if err != nil {
		return nil, nil, errors.Join(err, in.Close())
	}
	if plain == nil {
		in, err = whole(in)
		return in, open, err
	}
	defer in.Close()
	defer plain.Close()
	folder, err := m.draft.Dir()
	if err != nil {
		return nil, nil, err
	}
	out, err := spool(ctx, in, plain, folder)
	return out, func() (io.ReadCloser, error) { return os.Open(out.Name()) }, err
}

// whole is the file from its beginning, if it is a tar archive.
func whole(in *os.File) (*os.File, error) {
	if !isTar(in) {
		return nil, in.Close()
	}
	_, err := in.Seek(0, io.SeekStart)
	return in, err
}

// isTar reports whether there is a first entry, as BuildKit does.
func isTar(r io.Reader) bool {
	_, err := tar.NewReader(r).Next()
	return err == nil
}

// spool writes what a compressed archive expands to into a temporary file.
func spool(ctx context.Context, in *os.File, plain io.Reader, folder string) (*os.File, error) {
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	head := &bytes.Buffer{}
	if !isTar(io.TeeReader(plain, head)) {
		return nil, ctx.Err()
	}
	out, err := os.CreateTemp(folder, "archive-*")
	if err != nil {
		return nil, err
	}
	limit := max(freeUnpacked, maxRatio*info.Size())
	n, err := io.Copy(out, io.LimitReader(io.MultiReader(head, plain), limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%s unpacks to more than %d times its size, as a decompression bomb does", info.Name(), maxRatio)
	}
	if err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, out.Close(), os.Remove(out.Name()))
	}
	return out, nil
}

// expand reads a compressed file. It is nil for one that is not compressed, and
// goes back to its beginning then.
func expand(ctx context.Context, in *os.File) (io.ReadCloser, error) {
	magic := make([]byte, 6)
	n, err := io.ReadFull(in, magic)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(in, 256<<10)
	switch magic = magic[:n]; {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b, 0x08}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return io.NopCloser(strings.NewReader("")), nil // not an archive
		}
		return z, nil
	case bytes.HasPrefix(magic, []byte("BZh")):
		return io.NopCloser(bzip2.NewReader(r)), nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return expandXZ(ctx, r)
	}
	return nil, nil
}

// expandXZ runs xz, as BuildKit does.
func expandXZ(ctx context.Context, in io.Reader) (io.ReadCloser, error) {
	program, err := exec.LookPath("xz")
	if err != nil {
		return nil, protocol.Unsupported("an archive that is compressed with xz needs the program xz, which is not on PATH").
			WithHint("install xz-utils, or compress it with gzip, bzip2 or zstd")
	}
	ctx, cancel := context.WithCancel(ctx)
	out, write := io.Pipe()
	child, err := process.Start(ctx, process.Command{Args: []string{program, "--decompress", "--stdout", "--quiet"}, Stdin: in, Stdout: write})
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		if err := child.Wait(); err != nil {
			err = fmt.Errorf("xz: %w", err)
			write.CloseWithError(err)
			return
		}
		write.Close()
	}()
	return &xzReader{out, child, cancel}, nil
}

// xzReader reads what xz writes, and fails at the end if xz did.
type xzReader struct {
	*io.PipeReader
	child  *process.Child
	cancel context.CancelFunc
}

// Close ends xz, which may not have written all yet.
func (x *xzReader) Close() error {
	x.cancel()
	err := x.PipeReader.Close()
	<-x.child.Done()
	return err
}
