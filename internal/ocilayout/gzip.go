package ocilayout

import "io"

// NewGzipWriter compresses as every layer is compressed that is made here: the
// same bytes give the same blob on any machine. Close ends it; it does not close
// w. An error of w is told by Close.
func NewGzipWriter(w io.Writer) io.WriteCloser { return newGzipWriter(w, 0, level) }
