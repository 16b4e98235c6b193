package buildable

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// sbomFormat is part of the input of an image with an SBOM. It must change with
// anything that makes another document of the same program.
const sbomFormat = "spdx 1"

// noAssertion is SPDX's word for what is not known.
const noAssertion = "NOASSERTION"

// unversioned is what the linker writes for a module from a folder.
const unversioned = "(devel)"

// The parts of SPDX 2.3 that are used here; see spdx.github.io/spdx-spec/v2.3.
type (
	spdxDocument struct {
		Version       string             `json:"spdxVersion"`
		DataLicense   string             `json:"dataLicense"`
		ID            string             `json:"SPDXID"`
		Name          string             `json:"name"`
		Namespace     string             `json:"documentNamespace"`
		Comment       string             `json:"comment"`
		Creation      spdxCreation       `json:"creationInfo"`
		Packages      []spdxPackage      `json:"packages"`
		Relationships []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		ID               string          `json:"SPDXID"`
		Name             string          `json:"name"`
		Version          string          `json:"versionInfo,omitempty"`
		Purpose          string          `json:"primaryPackagePurpose,omitempty"`
		DownloadLocation string          `json:"downloadLocation"`
		FilesAnalyzed    bool            `json:"filesAnalyzed"`
		LicenseConcluded string          `json:"licenseConcluded"`
		LicenseDeclared  string          `json:"licenseDeclared"`
		Copyright        string          `json:"copyrightText"`
		Comment          string          `json:"comment,omitempty"`
		References       []spdxReference `json:"externalRefs,omitempty"`
	}
	spdxReference struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

// sbom is the SPDX document of a compiled program, made of what the linker wrote into
// it. Equal programs have equal documents.
func (g *golang) sbom(binary string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read the modules of the program for its SBOM: %w", err)
	}
	d, err := newSPDX(info, g.program(), g.options.Created)
	if err != nil {
		return nil, err
	}
	return json.Marshal(d)
}

// newSPDX lists the module of the program at the path in the image, the standard library
// and the modules that it depends on.
func newSPDX(info *debug.BuildInfo, program string, created time.Time) (spdxDocument, error) {
	d := spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: info.Path,
		Comment:  "The Go modules that " + program + " was compiled from. Other files of the image, those of its base among them, are not listed.",
		Creation: spdxCreation{Created: created.UTC().Format(time.RFC3339), Creators: []string{"Tool: harmony-build"}},
	}
	main := spdxModule(&info.Main)
	main.Purpose = "APPLICATION"
	d.Packages = append(d.Packages, main)
	d.Relationships = append(d.Relationships, spdxRelationship{d.ID, "DESCRIBES", main.ID})
	version, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ") // experiments follow
	for _, m := range append([]*debug.Module{{Path: "stdlib", Version: version}}, info.Deps...) {
		dependency := spdxModule(m)
		d.Packages = append(d.Packages, dependency)
		d.Relationships = append(d.Relationships, spdxRelationship{main.ID, "DEPENDS_ON", dependency.ID})
	}
	data, err := json.Marshal(d)
	// The namespace is another one for each document: it has the digest of the rest.
	sum := sha256.Sum256(data)
	d.Namespace = "https://harmony.nationtech.io/spdx/" + hex.EncodeToString(sum[:])
	return d, err
}

// spdxModule is the module whose code was compiled: the one that a go.mod or go.work
// replaces it with, unless that is a folder.
func spdxModule(m *debug.Module) spdxPackage {
	p := spdxPackage{
		DownloadLocation: noAssertion, LicenseConcluded: noAssertion, LicenseDeclared: noAssertion, Copyright: noAssertion,
	}
	if with := m.Replace; with != nil {
		if with.Version == "" || with.Version == unversioned {
			p.Comment = "replaced with a folder"
			m = &debug.Module{Path: m.Path}
		} else {
			p.Comment = "in place of " + m.Path
			m = with
		}
	}
	p.Name, p.Version = cmp.Or(m.Path, "command-line-arguments"), m.Version
	if p.Version == unversioned {
		p.Version = ""
	}
	p.References = []spdxReference{{"PACKAGE-MANAGER", "purl", packageURL(p.Name, p.Version)}}
	sum := sha256.Sum256([]byte(p.Name + "@" + p.Version))
	p.ID = "SPDXRef-Module-" + hex.EncodeToString(sum[:8])
	return p
}

// packageURL is the purl of a module: its type golang is in lower case.
func packageURL(path, version string) string {
	var parts []string
	for part := range strings.SplitSeq(strings.ToLower(path), "/") {
		parts = append(parts, url.QueryEscape(part))
	}
	locator := "pkg:golang/" + strings.Join(parts, "/")
	if version != "" {
		locator += "@" + url.QueryEscape(version)
	}
	return locator
}
