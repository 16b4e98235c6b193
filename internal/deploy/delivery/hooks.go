package delivery

import (
	"context"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
)

// Hooks reads the objects of the hooks of a revision.
func Hooks(r *release.Release) func(context.Context) ([]*unstructured.Unstructured, error) {
	return func(context.Context) ([]*unstructured.Unstructured, error) {
		var texts []string
		for _, hook := range r.Hooks {
			texts = append(texts, hook.Manifest)
		}
		return manifest.Parse(strings.Join(texts, "\n---\n"))
	}
}
