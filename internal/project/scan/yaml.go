package scan

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDocuments is how many YAML documents of a file are read.
const maxDocuments = 500

func isYAML(base string) bool {
	_, ok := yamlStem(base)
	return ok
}

// yamlStem is a YAML file's name without the extension.
func yamlStem(base string) (string, bool) {
	if stem, ok := strings.CutSuffix(base, ".yaml"); ok {
		return stem, true
	}
	return strings.CutSuffix(base, ".yml")
}

// documents are the YAML documents of a file that are mappings. A file, or the rest of
// it, that is not YAML is noted.
func documents(found *Found, name string, data []byte) []*yaml.Node {
	var list []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for len(list) < maxDocuments {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			line, text := syntax(err)
			if at := templateLine(data); at > 0 {
				line, text = at, "a template, which only its own tool can read"
			}
			found.unclear(name, line, "%s", text)
			return list
		}
		if len(root.Content) == 1 && root.Content[0].Kind == yaml.MappingNode {
			list = append(list, root.Content[0])
		}
	}
	found.unclear(name, 0, "has over %d documents; the others were not read", maxDocuments)
	return list
}

// syntax is the line and the text of a YAML library's error.
func syntax(err error) (int, string) {
	match := regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?((?s:.*))`).FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(match[1])
	return line, "not YAML: " + match[2]
}

// templateLine is the number of the first line with template braces, or 0.
func templateLine(data []byte) int {
	before, _, ok := bytes.Cut(data, []byte("{{"))
	if !ok {
		return 0
	}
	return 1 + bytes.Count(before, []byte("\n"))
}

// isTemplate reports whether a value is filled in by its tool.
func isTemplate(s string) bool { return strings.Contains(s, "{{") || strings.Contains(s, "${") }

// maxDepth is how deep aliases are followed.
const maxDepth = 10

// resolve is the node behind an alias; an empty node for none.
func resolve(n *yaml.Node) *yaml.Node {
	for range maxDepth {
		if n == nil || n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	if n == nil {
		return &yaml.Node{}
	}
	return n
}

// at returns the value under keys, or an empty node.
func at(n *yaml.Node, keys ...string) *yaml.Node {
	n = resolve(n)
	for _, key := range keys {
		var next *yaml.Node
		for k, v := range fields(n) {
			if k == key {
				next = v
			}
		}
		n = resolve(next)
	}
	return n
}

// fields are the keys and values of a mapping, in order.
func fields(n *yaml.Node) func(func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		n := resolve(n)
		if n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, resolve(n.Content[i+1])) {
				return
			}
		}
	}
}

// items are the items of a list.
func items(n *yaml.Node) []*yaml.Node {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		return nil
	}
	list := make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		list[i] = resolve(item)
	}
	return list
}

// text is a scalar under keys, or "".
func text(n *yaml.Node, keys ...string) string {
	n = at(n, keys...)
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return ""
	}
	return n.Value
}

// texts are the scalars of a list; a single scalar counts as a list of one.
func texts(n *yaml.Node) []string {
	if single := text(n); single != "" {
		return []string{single}
	}
	var list []string
	for _, item := range items(n) {
		list = append(list, text(item))
	}
	return list
}

// readerByContent is the reader of a file whose name does not tell its format.
func readerByContent(data []byte) reader {
	var ignored Found
	for _, d := range documents(&ignored, "", data) {
		switch {
		case strings.HasPrefix(text(d, "apiVersion"), "skaffold/"):
			return readSkaffold
		case isDelivered(d):
			return readManifests
		case len(at(d, "services").Content) > 0:
			return readCompose
		case len(at(d, "releases").Content) > 0:
			return readHelmfile
		case text(d, "configVersion") != "":
			return readWerf
		}
	}
	return nil
}
