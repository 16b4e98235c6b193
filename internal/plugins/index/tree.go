package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"

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

// manifestFolder is where a repository that holds more than an index keeps it.
const manifestFolder = "plugin-index"

func folderLocation(path string) location {
	return location{local: true, folder: true, fetch: func(context.Context, fetching) (tree, error) { return readFolder(path) }}
}

// holding is the folder itself, or its folder plugin-index where it has one.
func holding(path string) string {
	inner := filepath.Join(path, manifestFolder)
	if info, err := os.Stat(inner); err == nil && info.IsDir() {
		return inner
	}
	return path
}

// readFolder reads the manifests of a folder, or of its folder plugin-index.
func readFolder(path string) (tree, error) {
	path = holding(path)
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, protocol.Invalid("there is no folder %s", path)
	}
	if err != nil {
		return nil, err
	}
	files := tree{}
	for _, e := range entries {
		if !belongs(e.Name()) {
			continue
		}
		if !e.Type().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file", e.Name())
		}
		data, err := readFile(filepath.Join(path, e.Name()), limitOf(e.Name()))
		if err != nil {
			return nil, err
		}
		if err := files.add(e.Name(), data); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// readFile reads a file of a limited size.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, limit, filepath.Base(path))
}

// lock holds what the file of that name in a folder stands for against other
// processes, until unlock.
func lock(folder, name string) (unlock func(), err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// Encode writes a document as YAML, its fields in the order of their type.
func Encode(s protocol.Spec) ([]byte, error) {
	d, err := protocol.Encode(s)
	if err != nil {
		return nil, err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(d.Bytes(), &node); err != nil { // JSON is YAML
		return nil, err
	}
	block(&node)
	if s.Identity() == (protocol.Metadata{}) {
		drop(node.Content[0], "metadata")
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return nil, err
	}
	return text.Bytes(), encoder.Close()
}

// block takes the JSON out of a node's style.
func block(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		block(child)
	}
	if len(n.Content) == 0 && n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	}
}

// drop takes a field out of a mapping.
func drop(mapping *yaml.Node, field string) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == field {
			mapping.Content = append(mapping.Content[:i], mapping.Content[i+2:]...)
			return
		}
	}
}

// readJSON reads a file of this package's own; false when it is not there or of
// another shape.
func readJSON(path string, limit int64, into any) (bool, error) {
	data, err := readFile(path, limit)
	if err != nil {
		return false, err
	}
	return json.Unmarshal(data, into) == nil, nil
}
