package edge

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"

	chartfile "github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The files of a state; whatever applies a folder in the order of the names may
// do so.
const (
	fileNamespace = "00-namespace.yaml"
	fileCRDs      = "10-crds.yaml"
	fileApp       = "20-app.yaml"
)

// state is a rendered chart with the CustomResourceDefinitions of its folder crds.
type state struct {
	chartfile.Rendered
	crds []*unstructured.Unstructured
}

// files are the desired state of the app, in either form.
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
	d.irreversible = s.Irreversible
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
	order := func(o *unstructured.Unstructured) int { // Helm's; unknown kinds are last
		if i := slices.Index(releaseutil.InstallOrder, o.GetKind()); i >= 0 {
			return i
		}
		return len(releaseutil.InstallOrder)
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return order(a) - order(b) })
	for _, o := range objects {
		if o.GetKind() == "Secret" && (o.Object["data"] != nil || o.Object["stringData"] != nil) {
			d.progress(protocol.Event{Phase: "warning", Message: "Secret " + o.GetName() + " goes into the artifact as it is: anyone who can pull " + d.place.State.String() + " can read it"})
		}
	}
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
	s := state{Rendered: rendered}
	for _, crd := range loaded.CRDObjects() {
		found, err := manifest.Parse(string(crd.File.Data))
		if err != nil {
			return state{}, protocol.Invalid("chart %q: %s: %w", loaded.Name(), crd.Filename, err)
		}
		s.crds = append(s.crds, found...)
	}
	return s, nil
}

// plain refuses what only Helm can do: run hooks, or give another result each
// time. A chart's tests are not for devices.
func (d *deployment) plain(s, again state) error {
	hint := fmt.Sprintf("set the target's form to %s: Flux's helm-controller runs the chart on the devices", protocol.EdgeHelmRelease)
	for _, hook := range s.Hooks {
		events := hook.GetAnnotations()[release.HookAnnotation]
		if slices.ContainsFunc(strings.Split(events, ","), func(event string) bool { return !strings.HasPrefix(strings.TrimSpace(event), "test") }) {
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

// namespace is the app's, which other apps may be in as well: it is not deleted
// along with this one.
func namespace(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "annotations": map[string]any{"kustomize.toolkit.fluxcd.io/prune": "disabled"}},
	}}
}

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

// pin adds the digest to every image that has none: what a device pulls later is
// what the registries hold now.
func (d *deployment) pin(ctx context.Context, objects []*unstructured.Unstructured) error {
	var loose []string
	for _, image := range manifest.Images(objects) {
		if !strings.Contains(image, "@") {
			loose = append(loose, image)
		}
	}
	digests := make([]string, len(loose))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, image := range loose {
		group.Go(func() (err error) {
			digests[i], err = d.digestOf(asking, image)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	manifest.ReplaceImages(objects, func(image string) string {
		if i := slices.Index(loose, image); i >= 0 {
			image += "@" + digests[i]
		}
		return image
	})
	return nil
}

func (d *deployment) digestOf(ctx context.Context, image string) (string, error) {
	host, _, _ := strings.Cut(image, "/")
	insecure := d.image.Insecure && host == d.image.Registry
	ref, err := name.ParseReference(image, auth.Naming(insecure)...)
	if err != nil {
		return "", protocol.Invalid("chart %q: %w", d.chart.Chart, err)
	}
	found, err := remote.Head(ref, auth.Options(ctx, ref.Context(), insecure)...)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", &protocol.Error{
			Code: protocol.ExitFailed, Err: fmt.Errorf("image %s of chart %q is not pinned, and its registry does not tell the digest: %w", image, d.chart.Chart, err),
			Hint: "pin it in the chart or its values: " + image + "@sha256:…",
		}
	}
	return found.Digest.String(), nil
}

// place puts the objects that name no namespace into the app's, as Helm does. A
// custom resource that neither Kubernetes nor the chart defines is taken for one
// that lies in a namespace.
func place(objects, crds []*unstructured.Unstructured, namespace string) error {
	defined := slices.Concat(crds, objects)
	for _, object := range objects {
		if object.GetKind() == "" || object.GetAPIVersion() == "" {
			return protocol.Invalid("the chart gives an object without kind or apiVersion, %q", object.GetName())
		}
		if object.GetNamespace() == "" && isNamespaced(object, defined) {
			object.SetNamespace(namespace)
		}
	}
	return nil
}

func isNamespaced(object *unstructured.Unstructured, defined []*unstructured.Unstructured) bool {
	kind := object.GroupVersionKind()
	for _, crd := range defined {
		if crd.GetKind() != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		name, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		if group == kind.Group && name == kind.Kind {
			scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
			return scope != "Cluster"
		}
	}
	namespaced, known := openapi.IsNamespaceScoped(kyaml.TypeMeta{APIVersion: object.GetAPIVersion(), Kind: object.GetKind()})
	return namespaced || !known
}

// interval is how often Flux looks again by itself, and retries how often it
// tries a failed release before it stays at the one before.
const (
	interval = "10m"
	retries  = 3
)

// helmRelease are the objects with which Flux installs the chart by itself.
func (d *deployment) helmRelease(chart []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	namespace, name := d.place.Target.Namespace, api.SourceName(d.app.Name, d.chart.Digest)
	source, err := api.Source(d.chart, namespace, name, interval, d.place.Target.SecretRef)
	if err != nil {
		return nil, err
	}
	release, err := api.Release(namespace, d.app.Name, map[string]any{"kind": "OCIRepository", "name": name}, retries, true, d.values, map[string]any{
		"interval": interval, "driftDetection": map[string]any{"mode": "enabled"},
	})
	if err != nil {
		return nil, err
	}
	api.LeaveReplicas(release, drift.ScaledBy(chart), nil)
	return []*unstructured.Unstructured{source, release}, nil
}
