// Package chart makes Helm charts in Go, of Kubernetes objects, for app plugins. It
// is apart from package appkit because Kubernetes' types are heavy: a plugin whose
// charts are files does without.
package chart

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Chart is a Helm chart made of Kubernetes objects. harmony publish gives it the
// release's version, checks it as any other chart, and packages it.
type Chart struct {
	// Name of the chart; the app's when empty.
	Name string
	// Description goes into Chart.yaml.
	Description string
	// Objects are typed, such as *appsv1.Deployment, or unstructured. Kind and
	// apiVersion of Kubernetes' own types are filled in. What looks like a
	// template in them is text.
	Objects []runtime.Object
	// Values are fields of the objects that a target's values can change. Their
	// default is what the object has there.
	Values []Value
	// Templates are further Helm templates, by their name such as _labels.tpl.
	Templates map[string]string
	// Defaults are the values that Templates read.
	Defaults map[string]any
	// Image is where the values take the image; none when the objects hold it.
	Image protocol.ChartImage
}

// Value makes a field of an object a value of the chart.
type Value struct {
	// Of is one of the chart's objects.
	Of runtime.Object
	// Field is the path to the field, lists by index:
	// spec.template.spec.containers.0.resources.
	Field string
	// Name is the value's, without dots: replicas.
	Name string
}

// Write implements appkit.Chart: it makes the chart's folder in dir. The chart has
// the app's name where it has none of its own.
func (c Chart) Write(dir, app string) (protocol.ChartRef, error) {
	var none protocol.ChartRef
	c.Name = cmp.Or(c.Name, app)
	files, err := c.Files()
	if err != nil {
		return none, err
	}
	if !protocol.ValidName(c.Name) {
		return none, protocol.Invalid("%q cannot name a chart: lower-case letters, digits and dashes", c.Name)
	}
	made, err := filepath.Abs(filepath.Join(dir, c.Name))
	if err != nil {
		return none, err
	}
	if err := os.Mkdir(made, 0o755); err != nil {
		return none, err
	}
	for name, content := range files {
		file := filepath.Join(made, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return none, err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return none, err
		}
	}
	return protocol.ChartRef{Path: made, Chart: c.Name, Image: protocol.ImagePlaces{c.Image}}, nil
}

// Files are the files of the chart, by their path in its folder. The same chart
// gives the same bytes.
func (c Chart) Files() (map[string][]byte, error) {
	values := map[string]any{}
	for name, value := range c.Defaults {
		values[name] = value
	}
	files := map[string][]byte{}
	add := func(name string, content []byte) error {
		name = path.Join("templates", name)
		if _, twice := files[name]; twice || !filepath.IsLocal(name) || path.Dir(name) != "templates" {
			return protocol.Invalid("two objects or templates are named %s, or that is not a file name", name)
		}
		files[name] = content
		return nil
	}
	used := 0
	for _, object := range c.Objects {
		name, content, bound, err := c.template(object, values)
		if err == nil {
			err = add(name, content)
		}
		if err != nil {
			return nil, err
		}
		used += bound
	}
	if used != len(c.Values) {
		return nil, protocol.Invalid("a value is of an object that is not one of the chart's")
	}
	for name, text := range c.Templates {
		if err := add(name, []byte(text)); err != nil {
			return nil, err
		}
	}
	return files, c.addOwn(files, values)
}

func (c Chart) addOwn(files map[string][]byte, values map[string]any) (err error) {
	about := map[string]any{"apiVersion": "v2", "name": c.Name, "type": "application", "version": "0.0.0"}
	if c.Description != "" {
		about["description"] = c.Description
	}
	if files["Chart.yaml"], err = yaml.Marshal(about); err != nil {
		return err
	}
	files["values.yaml"], err = yaml.Marshal(values)
	return err
}

// template is one object as a file of templates/, with how many values are bound
// in it. The values' defaults are added to values.
func (c Chart) template(object runtime.Object, values map[string]any) (name string, content []byte, bound int, err error) {
	tree, err := treeOf(object)
	if err != nil {
		return "", nil, 0, err
	}
	described := unstructured.Unstructured{Object: tree}
	kind, id := described.GetKind(), described.GetName()
	if id == "" {
		return "", nil, 0, protocol.Invalid("an object of kind %s has no name", kind)
	}
	expressions := map[string]string{}
	for _, value := range c.Values {
		if value.Of != object {
			continue
		}
		if _, taken := values[value.Name]; taken || value.Name == "" || strings.ContainsAny(value.Name, ".{}\"` \n") {
			return "", nil, 0, protocol.Invalid("value %q: is not a name, or names two fields", value.Name)
		}
		token := fmt.Sprintf("harmony-value-%d-%s", len(values), kind)
		held, err := replace(tree, strings.Split(value.Field, "."), token)
		if err != nil {
			return "", nil, 0, protocol.Invalid("value %q: %s %s: %s: %w", value.Name, kind, id, value.Field, err)
		}
		values[value.Name] = held
		expressions[token] = fmt.Sprintf("{{ index .Values %q | toJson }}", value.Name)
		bound++
	}
	text, err := yaml.Marshal(tree)
	if err != nil {
		return "", nil, 0, err
	}
	escaped := strings.ReplaceAll(string(text), "{{", `{{ "{{" }}`)
	for token, expression := range expressions {
		if strings.Count(escaped, token) != 1 {
			return "", nil, 0, protocol.Invalid("%s %s: holds %q, which stands for a value", kind, id, token)
		}
		escaped = strings.Replace(escaped, token, expression, 1)
	}
	return strings.ToLower(kind) + "-" + id + ".yaml", []byte(escaped), bound, nil
}

// treeOf is an object as it is written in YAML, with its kind, without what only
// a cluster fills in.
func treeOf(object runtime.Object) (map[string]any, error) {
	encoded, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber() // a large one stays what it is
	if err := decoder.Decode(&tree); err != nil || tree == nil {
		return nil, protocol.Invalid("%T is nil or not an object", object)
	}
	if tree["kind"] == nil || tree["apiVersion"] == nil {
		kinds, _, err := scheme.Scheme.ObjectKinds(object)
		if err != nil {
			return nil, protocol.Invalid("%T has no kind and is not one of Kubernetes' own types: set its TypeMeta", object)
		}
		tree["apiVersion"], tree["kind"] = kinds[0].GroupVersion().String(), kinds[0].Kind
	}
	delete(tree, "status")
	dropEmptyTimes(tree)
	return tree, nil
}

// dropEmptyTimes takes away creationTimestamp: null.
func dropEmptyTimes(value any) {
	switch v := value.(type) {
	case map[string]any:
		if at, has := v["creationTimestamp"]; has && at == nil {
			delete(v, "creationTimestamp")
		}
		for _, member := range v {
			dropEmptyTimes(member)
		}
	case []any:
		for _, member := range v {
			dropEmptyTimes(member)
		}
	}
}

// replace replaces a field by a token, and returns what was there.
func replace(node any, path []string, token string) (any, error) {
	key, rest := path[0], path[1:]
	switch v := node.(type) {
	case map[string]any:
		held, has := v[key]
		if !has {
			return nil, fmt.Errorf("has no %s", key)
		}
		if len(rest) > 0 {
			return replace(held, rest, token)
		}
		v[key] = token
		return held, nil
	case []any:
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(v) {
			return nil, fmt.Errorf("has no item %s", key)
		}
		if len(rest) > 0 {
			return replace(v[i], rest, token)
		}
		held := v[i]
		v[i] = token
		return held, nil
	}
	return nil, fmt.Errorf("%s is not in a map or a list", key)
}
