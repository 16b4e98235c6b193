package ocilayout

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Corrupt is the error of a blob that is not what its descriptor says.
type Corrupt struct {
	digest v1.Hash
	how    string
}

func (e *Corrupt) Error() string { return fmt.Sprintf("blob %s %s", e.digest, e.how) }

type verified struct {
	io.ReadCloser
	descriptor v1.Descriptor
	hash       hash.Hash // nil when only the size counts
	n          int64
}

// Measured is [Checked] but for the digest. It is for bytes that go to a registry,
// which verifies the digest itself and takes nothing else (OCI distribution
// specification, "Pushing blobs"): to do so twice costs a fifth of a push. A file
// stays one, so that the system can send it by itself.
func Measured(r io.ReadCloser, d v1.Descriptor) (io.ReadCloser, error) {
	file, ok := r.(*os.File)
	if !ok {
		return &verified{ReadCloser: r, descriptor: d}, nil
	}
	info, err := file.Stat()
	if err == nil {
		err = wrongSize(d, info.Size(), true)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// wrongSize is the error of n bytes that are not what the descriptor says, as far
// as can be told before the end.
func wrongSize(want v1.Descriptor, n int64, ended bool) error {
	switch {
	case n > want.Size:
		return &Corrupt{want.Digest, fmt.Sprintf("has more than %d bytes", want.Size)}
	case n < want.Size && ended:
		return &Corrupt{want.Digest, fmt.Sprintf("ends after %d of %d bytes", n, want.Size)}
	}
	return nil
}

// Checked reads a blob and fails, instead of giving its last bytes, when they are
// not what the descriptor says: whoever reads a wrong blob never has all of it.
func Checked(r io.ReadCloser, d v1.Descriptor) io.ReadCloser {
	return &verified{ReadCloser: r, descriptor: d, hash: sha256.New()}
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	if v.hash != nil {
		v.hash.Write(p[:n])
	}
	v.n += int64(n)
	want := v.descriptor
	if wrong := wrongSize(want, v.n, err == io.EOF); wrong != nil {
		return 0, wrong
	}
	if v.hash != nil && v.n == want.Size && hex.EncodeToString(v.hash.Sum(nil)) != want.Digest.Hex {
		return 0, &Corrupt{want.Digest, "does not match its digest"}
	}
	return n, err
}
