package archive

import (
	"archive/zip"
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
	for _, file := range reader.File {
		if err := w.zipped(file); err != nil {
			return err
		}
	}
	return nil
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
