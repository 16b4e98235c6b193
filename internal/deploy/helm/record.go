package helm

import (
	"context"
	"fmt"
	"strconv"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/metadata"

	"github.com/nationtech/harmony/internal/cluster/marks"
)

// record is what a revision was made from. It is kept as annotations of the
// chart inside of Helm's own release: a rollback brings back the record along
// with what it is about, and an upgrade by plain helm has none. Labels of the
// release would be inherited by such an upgrade and then lie.
type record struct {
	// chart and image are digests; values is that of the values.
	chart, image, values string
}

func (r record) write(annotations map[string]string) {
	annotations[marks.Chart] = r.chart
	annotations[marks.Image] = r.image
	annotations[marks.Values] = r.values
}

// recordOf is the record of a revision; all empty when harmony did not make it.
func recordOf(r *release.Release) record {
	if r == nil || r.Chart == nil || r.Chart.Metadata == nil {
		return record{}
	}
	a := r.Chart.Metadata.Annotations
	return record{chart: a[marks.Chart], image: a[marks.Image], values: a[marks.Values]}
}

// last is the newest revision of a release, or nil. Only that one is
// read, where Helm would read and unpack the whole history.
func (d *deployment) last(ctx context.Context) (*release.Release, error) {
	name := d.App.Name
	client, err := metadata.NewForConfig(d.Config)
	if err != nil {
		return nil, err
	}
	list, err := client.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(d.Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: releaseSelector(name)})
	if err != nil {
		return nil, fmt.Errorf("read release %s: %w", name, err)
	}
	newest := 0
	for _, secret := range list.Items {
		revision, err := strconv.Atoi(secret.Labels["version"])
		if err != nil {
			return nil, fmt.Errorf("read release %s: secret %s has no revision: %w", name, secret.Name, err)
		}
		newest = max(newest, revision)
	}
	if newest == 0 {
		return nil, nil
	}
	found, err := d.config.Releases.Get(name, newest)
	if err != nil {
		return nil, fmt.Errorf("read release %s revision %d: %w", name, newest, err)
	}
	return found, nil
}

// releaseSelector selects the Secrets in which Helm keeps a release.
func releaseSelector(name string) string {
	return labels.SelectorFromSet(labels.Set{"owner": "helm", "name": name}).String()
}
