package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

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
