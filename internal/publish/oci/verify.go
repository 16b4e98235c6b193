package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// corrupt is the error of a blob that is not what its descriptor says.
type corrupt struct {
	digest v1.Hash
	how    string
}

func (e *corrupt) Error() string { return fmt.Sprintf("blob %s %s", e.digest, e.how) }

// verified reads a blob and fails, in the place of its last bytes, when they
// are not what the descriptor says: whoever reads a wrong blob never has all of
// it.
type verified struct {
	io.ReadCloser
	descriptor v1.Descriptor
	hash       hash.Hash // nil when only the size counts
	n          int64
}

// measure is verify but for the digest. It is for bytes that go to a registry,
// which verifies the digest itself and takes nothing else (OCI distribution
// specification, "Pushing blobs"): to do so twice costs a fifth of a push.
func measure(r io.ReadCloser, d v1.Descriptor) *verified {
	return &verified{ReadCloser: r, descriptor: d}
}

func verify(r io.ReadCloser, d v1.Descriptor) *verified {
	return &verified{ReadCloser: r, descriptor: d, hash: sha256.New()}
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	if v.hash != nil {
		v.hash.Write(p[:n])
	}
	v.n += int64(n)
	want := v.descriptor
	switch {
	case v.n > want.Size:
		return 0, &corrupt{want.Digest, fmt.Sprintf("has more than %d bytes", want.Size)}
	case v.n < want.Size && err == io.EOF:
		return 0, &corrupt{want.Digest, fmt.Sprintf("ends after %d of %d bytes", v.n, want.Size)}
	case v.hash != nil && v.n == want.Size && hex.EncodeToString(v.hash.Sum(nil)) != want.Digest.Hex:
		return 0, &corrupt{want.Digest, "holds bytes of another digest"}
	}
	return n, err
}
