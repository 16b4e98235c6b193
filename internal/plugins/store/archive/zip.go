package archive

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// encrypted is the flag of an entry that wants a password.
const encrypted = 1

func (w *writer) unzip(archive io.ReaderAt, size int64) error {
	reader, err := zip.NewReader(archive, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are looked at one by one
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
// directory: other programs may read another archive in them.
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
