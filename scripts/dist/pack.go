package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"time"
)

// packed is a file of an archive.
type packed struct {
	name, path string
	mode       int64
}

// pack writes a tar.gz that contains only the files: no times, no owners.
func pack(path string, files []packed) (err error) {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	compressed := gzip.NewWriter(out)
	archive := tar.NewWriter(compressed)
	for _, f := range files {
		if err := f.write(archive); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}

func (p packed) write(archive *tar.Writer) error {
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: p.name, Size: info.Size(), Mode: p.mode, ModTime: time.Unix(0, 0).UTC(), Format: tar.FormatUSTAR}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, f)
	return err
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
