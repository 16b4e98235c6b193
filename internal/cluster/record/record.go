// Package record reads the revisions that Helm keeps of a release, without Helm's own packages,
// which take long to load.
package record

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
)

// Key is where Helm keeps a revision in the data of a Secret.
const Key = "release"

// mostUnpacked bounds a revision, which is at most 1 MiB when packed.
const mostUnpacked = 64 << 20

// Unpack returns the JSON of a revision. packed is the value in the Secret as a client reads
// it: base64 of gzip of JSON.
func Unpack(packed []byte) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(string(packed))
	if err == nil && bytes.HasPrefix(data, []byte{0x1f, 0x8b}) { // Helm 2 did not compress
		var plain io.Reader
		if plain, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
			data, err = io.ReadAll(io.LimitReader(plain, mostUnpacked))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("not a Helm release: %w", err)
	}
	return data, nil
}
