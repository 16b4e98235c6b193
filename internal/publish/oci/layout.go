package oci

import (
	"io"

	"github.com/nationtech/harmony/internal/ocilayout"
)

// readLayout reads the image of a layout folder. Every manifest is verified now,
// and every blob by the registry that gets it. What may not be distributed stays
// where it is, as with every other tool.
func readLayout(path, want string) (artifact, error) {
	content, err := ocilayout.Read(path, want)
	if err != nil {
		return artifact{}, err
	}
	var a artifact
	for _, m := range content.Manifests {
		a.manifests = append(a.manifests, manifest{m.Descriptor, m.Raw})
	}
	for _, d := range content.Blobs {
		if d.MediaType != "" && !d.MediaType.IsDistributable() {
			continue
		}
		b := blob{descriptor: d, open: func() (io.ReadCloser, error) {
			file, err := content.Open(d)
			if err != nil {
				return nil, err
			}
			return ocilayout.Measured(file, d)
		}}
		if at, ok := content.Place(d); ok {
			b.elsewhere = &at
		}
		a.blobs = append(a.blobs, b)
	}
	return a, nil
}
