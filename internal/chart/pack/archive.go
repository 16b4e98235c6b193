package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"path"
	"time"
)

// archive is the chart as a .tgz of which every byte follows from the files:
// sorted names, no times, owners or modes of this machine.
//
// The gzip stream holds its bytes stored, not deflated. Versions of a deflate
// implementation differ in what they make of the same bytes, and a release that
// a newer harmony packages again must have the digest that it was published
// with. Charts are small, and Helm compresses what it keeps in the cluster.
func archive(name string, files tree) ([]byte, error) {
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	if err != nil {
		return nil, err
	}
	pack := tar.NewWriter(zip)
	for _, file := range files.names() {
		header := &tar.Header{
			Typeflag: tar.TypeReg,
			Name:     path.Join(name, file),
			Mode:     0o644,
			Size:     int64(len(files[file])),
			ModTime:  time.Unix(0, 0),
		}
		if err := pack.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := pack.Write(files[file]); err != nil {
			return nil, err
		}
	}
	if err := pack.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
