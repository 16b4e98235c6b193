package ocilayout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
)

// elsewhereFile is beside index.json. An OCI layout may have other files, which
// those who do not know them leave alone.
const elsewhereFile = "elsewhere.json"

// Place is where a blob is that a layout refers to and does not hold.
type Place struct {
	// Registry is host[:port], and Repository the path there.
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	// Insecure is set when the registry is reached by plain http.
	Insecure bool `json:"insecure,omitempty"`
}

// places is the content of elsewhere.json.
type places struct {
	Blobs map[digest.Digest]Place `json:"blobs"`
}

// Elsewhere lists the blobs that are not in a layout folder but in a registry,
// where whoever pushes the image there need not bring them from here.
func Elsewhere(dir string) (map[digest.Digest]Place, error) {
	path := filepath.Join(dir, elsewhereFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var content places
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return content.Blobs, nil
}

// LeaveElsewhere notes a blob that the image has and the layout does not.
func (d *Draft) LeaveElsewhere(sum digest.Digest, place Place) {
	if d.elsewhere == nil {
		d.elsewhere = map[digest.Digest]Place{}
	}
	d.elsewhere[sum] = place
}
