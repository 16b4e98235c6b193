package edge

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	chartfile "github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The files of a state; whatever applies a folder in the order of the names may
// do so.
const (
	fileNamespace = "00-namespace.yaml"
	fileCRDs      = "10-crds.yaml"
	fileApp       = "20-app.yaml"
)

// state is what a chart gives.
type state struct {
	chartfile.Rendered
	crds []*unstructured.Unstructured
}

// files are the desired state of the app, whatever its form.
func (d *deployment) files(ctx context.Context) ([]file, error) {
	archive, err := chartfile.Fetch(ctx, d.chart)
	if err != nil {
		return nil, err
	}
	s, err := d.render(archive)
	if err != nil {
		return nil, err
	}
	if err := s.Uses(d.image, d.chart); err != nil {
		return nil, err
	}
	files := []file{{name: fileNamespace}}
	if files[0].content, err = encode([]*unstructured.Unstructured{namespace(d.place.Target.Namespace)}); err != nil {
		return nil, err
	}
	if d.place.Target.FormOr() == protocol.EdgeHelmRelease {
		objects, err := d.helmRelease(s.Objects)
		if err != nil {
			return nil, err
		}
		content, err := encode(objects)
		return append(files, file{fileApp, content}), err
	}
	manifests, err := d.manifests(ctx, s, archive)
	return append(files, manifests...), err
}

// manifests are the chart's objects, with every image pinned.
func (d *deployment) manifests(ctx context.Context, s state, archive []byte) ([]file, error) {
	again, err := d.render(archive)
	if err != nil {
		return nil, err
	}
	if err := d.plain(s, again); err != nil {
		return nil, err
	}
	objects := slices.Clone(s.Objects)
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return cmp.Compare(order(a), order(b)) })
	d.tellSecrets(objects)
	if err := d.pin(ctx, objects); err != nil {
		return nil, err
	}
	if err := place(objects, s.crds, d.place.Target.Namespace); err != nil {
		return nil, err
	}
	// What names no replicas leaves them to the autoscaler.
	for _, scaled := range drift.ScaledBy(objects) {
		unstructured.RemoveNestedField(scaled.Object, "spec", "replicas")
	}
	app, err := encode(objects)
	if err != nil || len(s.crds) == 0 {
		return []file{{fileApp, app}}, err
	}
	crds, err := encode(s.crds)
	return []file{{fileCRDs, crds}, {fileApp, app}}, err
}

// tellSecrets warns of what everybody can read who may pull the artifact.
func (d *deployment) tellSecrets(objects []*unstructured.Unstructured) {
	for _, o := range objects {
		if o.GetKind() == "Secret" && (o.Object["data"] != nil || o.Object["stringData"] != nil) {
			d.progress(protocol.Event{Phase: "warning", Message: "Secret " + o.GetName() + " goes into the artifact as it is: whoever may pull " + d.place.State.String() + " can read it"})
		}
	}
}

// render renders the chart for the devices' Kubernetes.
func (d *deployment) render(archive []byte) (state, error) {
	loaded, err := chartfile.Load(archive)
	if err != nil {
		return state{}, err
	}
	caps := chartutil.DefaultCapabilities.Copy()
	if version := d.place.Target.KubeVersion; version != "" {
		parsed, err := chartutil.ParseKubeVersion(version)
		if err != nil {
			return state{}, protocol.Invalid("kubeVersion %q of target %q: %w", version, d.target, err)
		}
		caps.KubeVersion = *parsed
	}
	options := chartutil.ReleaseOptions{Name: d.app.Name, Namespace: d.place.Target.Namespace, Revision: 1, IsInstall: true}
	rendered, err := chartfile.Render(engine.Engine{}, loaded, d.values, options, caps)
	if err != nil {
		return state{}, protocol.Invalid("chart %q with the values of target %q: %w", d.chart.Chart, d.target, err)
	}
	crds, err := definitions(loaded)
	return state{Rendered: rendered, crds: crds}, err
}

// definitions are the CustomResourceDefinitions in the folders crds of a chart.
func definitions(c *chart.Chart) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, crd := range c.CRDObjects() {
		found, err := manifest.Parse(string(crd.File.Data))
		if err != nil {
			return nil, protocol.Invalid("chart %q: %s: %w", c.Name(), crd.Filename, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// plain refuses what only Helm can do: run hooks, or give another result each
// time. A chart's tests are not for devices.
func (d *deployment) plain(s, again state) error {
	hint := fmt.Sprintf("set the target's form to %s: Flux's helm-controller runs the chart on the devices", protocol.EdgeHelmRelease)
	for _, hook := range s.Hooks {
		if events := hook.GetAnnotations()[release.HookAnnotation]; !isTest(events) {
			return protocol.Unsupported("chart %q has a hook, %s %s (%s), which only Helm runs", d.chart.Chart, hook.GetKind(), hook.GetName(), events).WithHint("%s", hint)
		}
	}
	for i, object := range s.Objects {
		if i >= len(again.Objects) || !equality.Semantic.DeepEqual(object, again.Objects[i]) {
			return protocol.Unsupported("chart %q gives another %s %s each time that it is rendered", d.chart.Chart, object.GetKind(), object.GetName()).WithHint("%s", hint)
		}
	}
	return nil
}

// isTest reports that a hook is a test and nothing else.
func isTest(events string) bool {
	for event := range strings.SplitSeq(events, ",") {
		if !strings.HasPrefix(strings.TrimSpace(event), "test") {
			return false
		}
	}
	return true
}

// order is where Helm would install an object; unknown kinds come last.
func order(o *unstructured.Unstructured) int {
	if i := slices.Index(releaseutil.InstallOrder, o.GetKind()); i >= 0 {
		return i
	}
	return len(releaseutil.InstallOrder)
}

// namespace is the app's, which other apps may be in as well: it is not deleted
// along with this one.
func namespace(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "annotations": map[string]any{"kustomize.toolkit.fluxcd.io/prune": "disabled"}},
	}}
}

// encode writes objects as YAML documents; the same objects give the same bytes.
func encode(objects []*unstructured.Unstructured) ([]byte, error) {
	var b bytes.Buffer
	for _, object := range objects {
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.Bytes(), nil
}
