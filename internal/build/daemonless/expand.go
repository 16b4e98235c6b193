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

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// An archive may unpack to freeUnpacked bytes in any case, and to more if that is
// at most maxRatio times its own size. No useful archive comes near; decompression
// bombs go far beyond.
const (
	freeUnpacked = 1 << 30
	maxRatio     = 100
)

// openArchive opens a file as an uncompressed tar archive, which is a temporary
// copy of a compressed one, and returns how to open that again. It is nil if the
// file is not an archive.
func (m *maker) openArchive(ctx context.Context, open opener) (*os.File, opener, error) {
	in, err := open.file()
	if err != nil {
		return nil, nil, err
	}
	plain, compressed, err := decompress(ctx, in)
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil, in.Close()
	}
	if err != nil {
		return nil, nil, errors.Join(err, in.Close())
	}
	defer plain.Close()
	if !compressed {
		if !isTar(plain) {
			return nil, nil, in.Close()
		}
		_, err = in.Seek(0, io.SeekStart)
		return in, open, err
	}
	defer in.Close()
	folder, err := m.draft.Dir()
	if err != nil {
		return nil, nil, err
	}
	out, err := spool(ctx, in, plain, folder)
	return out, func() (io.ReadCloser, error) { return os.Open(out.Name()) }, err
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

// decompress reads a file that may be compressed.
func decompress(ctx context.Context, in io.Reader) (plain io.ReadCloser, compressed bool, err error) {
	r := bufio.NewReaderSize(in, 256<<10)
	magic, err := r.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b, 0x08}):
		plain, err = gzip.NewReader(r)
	case bytes.HasPrefix(magic, []byte("BZh")):
		plain, err = io.NopCloser(bzip2.NewReader(r)), nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r); err == nil {
			plain = z.IOReadCloser()
		}
	case bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		plain, err = expandXZ(ctx, r)
	default:
		return io.NopCloser(r), false, nil
	}
	return plain, true, err
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
		err := child.Wait()
		if err != nil {
			err = fmt.Errorf("xz: %w", err)
		}
		write.CloseWithError(err)
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
