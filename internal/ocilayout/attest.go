package ocilayout

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PredicateSPDX is the type of a statement whose predicate is an SPDX document.
const PredicateSPDX = "https://spdx.dev/Document"

// The values of what BuildKit writes next to an image; see its
// docs/attestations/attestation-storage.md.
const (
	attestationManifest = "attestation-manifest"
	attestationSubject  = "vnd.docker.reference.digest"
	statementType       = "https://in-toto.io/Statement/v0.1"
	statementMedia      = "application/vnd.in-toto+json"
	predicateType       = "in-toto.io/predicate-type"
)

type statement struct {
	Type          string          `json:"_type"`
	PredicateType string          `json:"predicateType"`
	Subject       []subject       `json:"subject"`
	Predicate     json.RawMessage `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// Attest puts an in-toto statement about the image of a platform next to the images,
// in the way of BuildKit: in a manifest that the index lists. The images are the ones
// for [Draft.Commit], or one index; those to commit are returned. An image that has
// such a manifest gets another one, with all that was said before.
func (d *Draft) Attest(images []ocispec.Descriptor, platform, predicate string, content []byte) ([]ocispec.Descriptor, error) {
	images, err := d.listed(images)
	if err != nil {
		return nil, err
	}
	image, err := d.find(images, platform)
	if err != nil {
		return nil, err
	}
	earlier := slices.IndexFunc(images, func(m ocispec.Descriptor) bool {
		return m.Annotations[Attestation] == attestationManifest && m.Annotations[attestationSubject] == image.String()
	})
	var before ocispec.Manifest
	if earlier >= 0 {
		if err := d.readJSON(images[earlier], &before); err != nil {
			return nil, err
		}
	}
	added, err := d.attestation(image, before.Layers, predicate, content)
	switch {
	case err != nil:
		return nil, err
	case earlier < 0:
		return append(images, added), nil
	}
	images[earlier] = added
	return images, nil
}

// find is the image of a platform. On the way it fills in platforms that are missing.
func (d *Draft) find(images []ocispec.Descriptor, platform string) (digest.Digest, error) {
	for i := range images {
		image := &images[i]
		if image.Annotations[Attestation] != "" {
			continue
		}
		if image.Platform == nil {
			var err error
			if image.Platform, err = d.platform(*image); err != nil {
				return "", err
			}
		}
		if PlatformString(*image.Platform) == platform {
			return image.Digest, nil
		}
	}
	return "", fmt.Errorf("no image for %s to put an attestation next to", platform)
}

// listed are the images, or what the one index among them lists.
func (d *Draft) listed(images []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if len(images) != 1 || images[0].MediaType != ocispec.MediaTypeImageIndex {
		return images, nil
	}
	var list ocispec.Index
	err := d.readJSON(images[0], &list)
	return list.Manifests, err
}

// platform is that of an image's configuration.
func (d *Draft) platform(image ocispec.Descriptor) (*ocispec.Platform, error) {
	var manifest ocispec.Manifest
	if err := d.readJSON(image, &manifest); err != nil {
		return nil, err
	}
	var p ocispec.Platform
	return &p, d.readJSON(manifest.Config, &p)
}

// attestation writes a manifest of the layers and one more, a statement about the
// image.
func (d *Draft) attestation(image digest.Digest, layers []ocispec.Descriptor, predicate string, content []byte) (ocispec.Descriptor, error) {
	layer, err := d.addJSON(statementMedia, statement{
		Type: statementType, PredicateType: predicate, Predicate: content,
		Subject: []subject{{Name: "_", Digest: map[string]string{string(image.Algorithm()): image.Encoded()}}},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	layer.Annotations = map[string]string{predicateType: predicate}
	config := ocispec.Image{Platform: ocispec.Platform{OS: "unknown", Architecture: "unknown"}, RootFS: ocispec.RootFS{Type: "layers"}}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: append(layers, layer),
	}
	for _, l := range manifest.Layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.Digest)
	}
	if manifest.Config, err = d.addJSON(ocispec.MediaTypeImageConfig, config); err != nil {
		return ocispec.Descriptor{}, err
	}
	made, err := d.addJSON(ocispec.MediaTypeImageManifest, manifest)
	made.Platform = &config.Platform
	made.Annotations = map[string]string{Attestation: attestationManifest, attestationSubject: image.String()}
	return made, err
}

func (d *Draft) readJSON(blob ocispec.Descriptor, into any) error {
	data, err := os.ReadFile(d.blob(blob.Digest))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
