package pack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

type setting struct{ path, value string }

// edit sets values in a YAML document and keeps its other keys, their order and
// its comments. Missing maps on the way are made. What is not one map at the
// root, has a key twice, or has something else where a map must be, is an error
// with its line.
func edit(data []byte, settings []setting) ([]byte, error) {
	document, err := parseYAML(data)
	if err != nil {
		return nil, err
	}
	root := document.Content[0]
	for _, s := range settings {
		if err := set(root, s); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	if document.Line == 0 && len(bytes.TrimSpace(data)) > 0 { // only comments, which are of no node
		out.Write(bytes.TrimRight(data, "\n"))
		out.WriteByte('\n')
	}
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(document); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

// parseYAML returns the one document in data, with a map at its root.
func parseYAML(data []byte) (*yaml.Node, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("is not UTF-8")
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	document := &yaml.Node{}
	err := decoder.Decode(document)
	switch {
	case errors.Is(err, io.EOF):
		return &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}, nil
	case err != nil:
		return nil, err
	}
	var all any
	if err := document.Decode(&all); err != nil { // refuses a key that is there twice
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("has more than one YAML document")
	}
	root := document.Content[0]
	switch {
	case root.Kind == yaml.ScalarNode && root.Tag == "!!null":
		*root = yaml.Node{Kind: yaml.MappingNode, HeadComment: root.HeadComment, LineComment: root.LineComment, FootComment: root.FootComment}
	case root.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("line %d: is not a map of keys to values", root.Line)
	}
	return document, nil
}

func set(root *yaml.Node, s setting) error {
	keys := strings.Split(s.path, ".")
	node := root
	for i, key := range keys[:len(keys)-1] {
		next := child(node, key)
		switch {
		case next.Kind == 0, next.Kind == yaml.ScalarNode && next.Tag == "!!null":
			next.Kind, next.Tag, next.Style, next.Value = yaml.MappingNode, "!!map", 0, ""
		case next.Kind != yaml.MappingNode:
			return fmt.Errorf("line %d: %s is %s, so it cannot hold %s", next.Line, strings.Join(keys[:i+1], "."), describe(next), s.path)
		}
		node = next
	}
	leaf := child(node, keys[len(keys)-1])
	if leaf.Kind == yaml.MappingNode || leaf.Kind == yaml.SequenceNode {
		return fmt.Errorf("line %d: %s is %s, not one value", leaf.Line, s.path, describe(leaf))
	}
	leaf.Kind, leaf.Tag, leaf.Style = yaml.ScalarNode, "!!str", yaml.DoubleQuotedStyle
	leaf.Value, leaf.Alias = s.value, nil
	return nil
}

// child is the value of a key; it is appended, without a kind, when it is
// missing.
func child(mapping *yaml.Node, key string) *yaml.Node {
	quoted := needsQuotes(key)
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		k := mapping.Content[i]
		if k.Kind == yaml.ScalarNode && k.Value == key && !(quoted && k.Style == 0 && k.Tag == "!!str") {
			return mapping.Content[i+1]
		}
	}
	name, value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, &yaml.Node{}
	if quoted {
		name.Style = yaml.DoubleQuotedStyle
	}
	mapping.Content = append(mapping.Content, name, value)
	// A key that follows {} on one line would stay on that line.
	mapping.Style &^= yaml.FlowStyle
	return value
}

// needsQuotes reports a key such as y or on: Helm reads YAML 1.1, where it is
// true when it stands without quotes.
func needsQuotes(key string) bool {
	var n yaml.Node
	return n.Encode(key) != nil || n.Style != 0
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return "a single value"
}
