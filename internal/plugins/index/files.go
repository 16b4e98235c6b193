package index

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/pkg/protocol"
)

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
