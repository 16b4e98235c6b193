package ocilayout

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Entry is one file, folder or link of a layer.
type Entry struct {
	// Path from the root of the image, with slashes, clean and not beginning
	// with one.
	Path string
	// Type is tar.TypeReg, TypeDir or TypeSymlink.
	Type byte
	// Mode has the permission bits, with setuid, setgid and sticky as in a tar
	// header.
	Mode int64
	// UID and GID are the owner.
	UID, GID int
	// Link is the target of a link.
	Link string
	// XAttrs are extended attributes, by PAX record name.
	XAttrs map[string]string
	// Size in bytes and Open are for a TypeReg.
	Size int64
	Open func() (io.ReadCloser, error)
}

// File is an entry with its content in memory.
func File(path string, mode int64, content []byte) Entry {
	return Entry{Path: path, Type: tar.TypeReg, Mode: mode, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(content))), nil
	}}
}

// Dir is an entry of a folder.
func Dir(path string, mode int64) Entry {
	return Entry{Path: path, Type: tar.TypeDir, Mode: mode}
}

func (e Entry) header(created time.Time) *tar.Header {
	h := &tar.Header{
		Typeflag: e.Type, Name: e.Path, Linkname: e.Link, Mode: e.Mode, Uid: e.UID, Gid: e.GID,
		ModTime: created, PAXRecords: e.XAttrs,
	}
	switch e.Type {
	case tar.TypeReg:
		h.Size = e.Size
	case tar.TypeDir:
		h.Name += "/"
	}
	return h
}

// WriteTar writes the entries, with created as their time, sorted by path, so that
// a folder comes before what is in it.
func WriteTar(ctx context.Context, w io.Writer, entries []Entry, created time.Time) error {
	sorted := slices.SortedStableFunc(slices.Values(entries), func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	t := tar.NewWriter(w)
	for _, e := range sorted {
		err := t.WriteHeader(e.header(created))
		if err == nil && e.Type == tar.TypeReg {
			err = copyContent(ctx, t, e)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
	}
	return t.Close()
}

func copyContent(ctx context.Context, w io.Writer, e Entry) error {
	content, err := e.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	n, err := io.Copy(w, WithContext(ctx, content))
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != e.Size {
		return fmt.Errorf("changed while it was read: no longer %d bytes", e.Size)
	}
	return err
}

// WithContext makes a reader fail when ctx ends.
func WithContext(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
