package index

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/pkg/protocol"
)

// List is an https tree's index.yaml: its manifests, for a server that lists no
// folders. It is made by 'harmony plugin index build'.
type List struct {
	protocol.Metadata `json:"-"`
	// Manifests are the files beside the list.
	Manifests []Listed `json:"manifests"`
}

// Listed is a manifest of a [List].
type Listed struct {
	// File is the manifest's name: NAME.yaml or NAME@VERSION.yaml.
	File string `json:"file"`
	// SHA256 is the hash of the manifest, 64 hexadecimal digits.
	SHA256 string `json:"sha256"`
}

// DocumentKind implements [protocol.Spec].
func (List) DocumentKind() protocol.Kind { return "PluginIndex" }

// Validate returns all problems at once, as [protocol.FieldErrors], or nil.
func (l List) Validate() error {
	var p artifact.Problems
	if len(l.Manifests) > maxFiles {
		p.Add("spec.manifests", "has more than %d entries", maxFiles)
		return p.Err()
	}
	seen := map[string]bool{}
	for i, m := range l.Manifests {
		field := fmt.Sprintf("spec.manifests[%d]", i)
		if _, _, ok := manifestName(m.File); !ok {
			p.Add(field+".file", "%q is not the name of a manifest, such as fleet.yaml or fleet@1.4.0.yaml", m.File)
		}
		if seen[m.File] {
			p.Add(field+".file", "%s appears twice", m.File)
		}
		seen[m.File] = true
		if !artifact.ValidHash(m.SHA256) {
			p.Add(field+".sha256", "must be the manifest's SHA-256, 64 hexadecimal digits in lower case")
		}
	}
	return p.Err()
}

// listOf makes the list of an https tree's manifests.
func listOf(files tree) List {
	l := List{Metadata: protocol.Metadata{Name: manifestFolder}, Manifests: []Listed{}}
	for _, file := range files.manifests() {
		l.Manifests = append(l.Manifests, Listed{file, hashOf(files[file])})
	}
	return l
}

// Check reads the manifests of a folder. The error lists everything that is wrong.
func Check(folder string) error {
	_, err := checked(folder)
	return err
}

// Build checks the manifests of a folder and lists them in its index.yaml. It
// returns their number.
func Build(folder string) (int, error) {
	files, err := checked(folder)
	if err != nil {
		return 0, err
	}
	list := listOf(files)
	text, err := config.Encode(list)
	if err != nil {
		return 0, err
	}
	path := filepath.Join(folderOf(folder), listName)
	if old, err := readFile(path, maxList); err == nil && string(old) == string(text) {
		return len(list.Manifests), nil
	}
	return len(list.Manifests), atomicfile.Write(path, text, 0o644)
}

// checked reads the manifests of a folder, and fails if any of them is wrong.
func checked(folder string) (tree, error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	files, err := readFolder(absolute)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	offered, err := read(Index{Name: filepath.Base(absolute), URL: absolute}, files)
	if err != nil {
		return nil, err
	}
	wrong := offered.broken()
	all, err := filepath.Glob(filepath.Join(folderOf(absolute), "*.y*ml"))
	if err != nil {
		return nil, err
	}
	for _, path := range all {
		if name := filepath.Base(path); name != listName && files[name] == nil {
			wrong = append(wrong, fmt.Errorf("%s is not the name of a manifest, such as fleet.yaml or fleet@1.4.0.yaml", path))
		}
	}
	if len(all) == 0 {
		wrong = append(wrong, fmt.Errorf("%s contains no manifest, such as fleet.yaml or fleet@1.4.0.yaml", folder))
	}
	if len(wrong) > 0 {
		return files, protocol.Invalid("%w", errors.Join(wrong...))
	}
	return files, nil
}
