package index

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// What an index may hold at most: a hostile one is refused before it costs
// memory or time.
const (
	maxFiles     = 8192
	maxTree      = 32 << 20 // bytes
	maxSignature = 8 << 10  // bytes
)

// listName is the file that lists the manifests of an https tree.
const listName = "index.yaml"

// tree holds the files of an index, by their names: manifests and signatures.
type tree map[string][]byte

// manifestName cuts the name of a manifest's file: NAME.yaml, or NAME@VERSION.yaml
// for a version that is not the newest.
func manifestName(file string) (name, version string, ok bool) {
	base, ok := strings.CutSuffix(file, ".yaml")
	if !ok || file == listName {
		return "", "", false
	}
	name, version, dated := strings.Cut(base, "@")
	return name, version, protocol.ValidName(name) && (!dated || validVersion(version))
}

// belongs reports whether a file of this name is a part of an index: a manifest
// or its signature. Other files, such as a README, do not matter.
func belongs(file string) bool {
	for _, suffix := range signatureSuffixes() {
		file = strings.TrimSuffix(file, suffix)
	}
	_, _, ok := manifestName(file)
	return ok
}

// limitOf is the size of the largest file of this name, in bytes.
func limitOf(file string) int64 {
	if strings.HasSuffix(file, ".yaml") {
		return maxManifest
	}
	return maxSignature
}

// add takes a file into the tree, unless that makes it too large.
func (t tree) add(file string, data []byte) error {
	if !belongs(file) {
		return fmt.Errorf("%q is not the name of a manifest, such as fleet.yaml or fleet@1.4.0.yaml", file)
	}
	if _, twice := t[file]; twice {
		return fmt.Errorf("%s is there twice", file)
	}
	if int64(len(data)) > limitOf(file) {
		return &tooLarge{file, limitOf(file)}
	}
	t[file] = data
	return t.check()
}

// check is nil for a tree of a bearable size.
func (t tree) check() error {
	if len(t) > maxFiles {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	total := 0
	for _, data := range t {
		total += len(data)
	}
	if total > maxTree {
		return fmt.Errorf("its files are larger than %d bytes together", maxTree)
	}
	return nil
}

// manifests lists the names of the manifests' files, sorted.
func (t tree) manifests() []string {
	var names []string
	for _, file := range slices.Sorted(maps.Keys(t)) {
		if _, _, ok := manifestName(file); ok {
			names = append(names, file)
		}
	}
	return names
}
