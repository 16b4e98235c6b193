// Package manifest reads the objects that a chart rendered.
package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// Parse reads the objects of a manifest, YAML documents or JSON, members of
// lists as well.
func Parse(text string) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(text)), 4096)
	var objects []*unstructured.Unstructured
	for {
		var content map[string]any
		err := decoder.Decode(&content)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(content) == 0 {
			continue
		}
		object := &unstructured.Unstructured{Object: content}
		if !object.IsList() {
			objects = append(objects, object)
			continue
		}
		err = object.EachListItem(func(member runtime.Object) error {
			objects = append(objects, member.(*unstructured.Unstructured))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
}

// File is what a template of a chart rendered.
type File struct {
	// Name is the template's path, the chart's name first.
	Name    string
	Objects []*unstructured.Unstructured
}

// Files reads what a chart rendered, text by template, in the order of their
// names. Notes are left out.
func Files(rendered map[string]string) ([]File, error) {
	var files []File
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			continue
		}
		objects, err := Parse(rendered[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, File{Name: name, Objects: objects})
	}
	return files, nil
}

// Images lists the images of all containers that objects describe: those of
// pods, of pod templates, and of custom resources that hold one.
func Images(objects []*unstructured.Unstructured) []string {
	found := map[string]bool{}
	ReplaceImages(objects, func(image string) string {
		found[image] = true
		return image
	})
	return slices.Sorted(maps.Keys(found))
}

// ReplaceImages replaces the image of each container, as Images finds them.
func ReplaceImages(objects []*unstructured.Unstructured, with func(string) string) {
	for _, object := range objects {
		walk(object.Object, with)
	}
}

func walk(value any, with func(string) string) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			list, isList := member.([]any)
			if isList && (key == "containers" || key == "initContainers") {
				for _, member := range list {
					container, _ := member.(map[string]any)
					if image, _ := container["image"].(string); image != "" {
						container["image"] = with(image)
					}
				}
				continue
			}
			walk(member, with)
		}
	case []any:
		for _, member := range v {
			walk(member, with)
		}
	}
}

// Uses reports whether one of the images is pinned to the digest.
func Uses(images []string, digest string) bool {
	return slices.ContainsFunc(images, func(image string) bool { return strings.HasSuffix(image, "@"+digest) })
}

// Space is a namespace of a cluster as the place of objects.
type Space struct {
	Dynamic dynamic.Interface
	Mapper  meta.RESTMapper
	// Namespace is that of objects without one.
	Namespace string
}

// NamespaceOf is the namespace that an object names, or else the space's.
func (s Space) NamespaceOf(o *unstructured.Unstructured) string {
	return cmp.Or(o.GetNamespace(), s.Namespace)
}

// Key identifies an object, whatever the version of its kind.
func (s Space) Key(o *unstructured.Unstructured) string {
	return o.GroupVersionKind().GroupKind().String() + "/" + s.NamespaceOf(o) + "/" + o.GetName()
}

// Resource is where the API server keeps an object, and its namespace, "" for a
// kind that is in none.
func (s Space) Resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, string, error) {
	kind := o.GroupVersionKind()
	mapping, err := s.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, "", err
	}
	resource := s.Dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return resource, "", nil
	}
	return resource.Namespace(s.NamespaceOf(o)), s.NamespaceOf(o), nil
}
