package argocd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// refresh is the annotation by which Argo CD is asked to look again.
const annotationRefresh = "argocd.argoproj.io/refresh"

// release is one state of an Application that can be gone back to. The one before
// is kept in an annotation, because Argo CD's own history knows no image, and also
// holds what never became healthy.
type release struct {
	// Source is spec.source.
	Source map[string]any `json:"source"`
	// Image is the image by its digest, registry/repository@sha256:…, or "" for an app
	// without one, and Version
	// the app's.
	Image   string `json:"image"`
	Version string `json:"version,omitempty"`
	// Images are the further images, as their mark has them.
	Images string `json:"images,omitempty"`
}

func (r release) chart() string {
	revision, _ := r.Source["targetRevision"].(string)
	return revision
}

func (r release) digest() string {
	_, digest, _ := strings.Cut(r.Image, "@")
	return digest
}

// known reports a release of harmony's.
func (r release) known() bool { return r.Image != "" || r.Version != "" }

// image is the image as a deploy takes it; like is one of the same registry.
func (r release) image(like protocol.ImageRef) (protocol.ImageRef, error) {
	if r.Image == "" {
		return protocol.ImageRef{Metadata: like.Metadata}, nil
	}
	image, err := protocol.ParseImageRef(r.Image)
	if err != nil {
		return protocol.ImageRef{}, fmt.Errorf("the release before: %w", err)
	}
	image.Location, image.Insecure = protocol.InRegistry, like.Insecure && image.Registry == like.Registry
	image.Images = marks.ReadImages(r.Images, image)
	return image, nil
}

// releaseOf is what the Application wants now.
func releaseOf(a *application) release {
	if a == nil {
		return release{}
	}
	from, _, _ := unstructured.NestedMap(a.Object, "spec", "source")
	notes := a.GetAnnotations()
	return release{Source: from, Image: notes[marks.Image], Images: notes[marks.Images], Version: notes[marks.Version]}
}

func (r release) write(object *unstructured.Unstructured) error {
	annotate(object, marks.Image, r.Image)
	annotate(object, marks.Version, r.Version)
	if object.GetAnnotations()[marks.Images] != r.Images {
		annotate(object, marks.Images, r.Images)
	}
	unstructured.RemoveNestedField(object.Object, "spec", "sources")
	return unstructured.SetNestedMap(object.Object, r.Source, "spec", "source")
}

// wanted is what the deploy wants of the Application.
type wanted struct {
	release
	project     string
	syncOptions []string
}

func newWanted(d *deployment) (wanted, error) {
	helm := map[string]any{"releaseName": d.App.Name}
	if len(d.Values.All) > 0 {
		helm["valuesObject"] = d.Values.All
	}
	from, err := plain(map[string]any{
		"repoURL": d.Chart.URL, "path": ".", "targetRevision": d.Chart.Digest, "helm": helm,
	})
	if err != nil {
		return wanted{}, fmt.Errorf("values: %w", err)
	}
	return wanted{
		release: release{Source: from, Image: d.PinnedImage(), Images: marks.WriteImages(d.Image.Images), Version: d.App.Version},
		project: d.settings.project, syncOptions: withOption(withOption(d.settings.syncOptions, "CreateNamespace=true"), respectIgnored),
	}, nil
}

// withOption adds an option, unless the list sets it already.
func withOption(options []string, option string) []string {
	key, _, _ := strings.Cut(option, "=")
	if slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, key+"=") }) {
		return options
	}
	return append(slices.Clone(options), option)
}

// plain is the value as the API server gives it back.
func plain(value map[string]any) (map[string]any, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var made map[string]any
	return made, utiljson.Unmarshal(encoded, &made)
}

// matches reports that the Application wants it all already, at one of the
// places.
func (w wanted) matches(a *application, places []place) bool {
	now := releaseOf(a)
	ignored, _, _ := unstructured.NestedSlice(a.Object, "spec", "ignoreDifferences")
	return len(ignoring(ignored)) == len(ignored) && now.Image == w.Image && now.Images == w.Images && len(a.Spec.Sources) == 0 && equality.Semantic.DeepEqual(now.Source, w.Source) &&
		a.Spec.Project == w.project && slices.Contains(places, a.Spec.Destination) && !slices.ContainsFunc(w.syncOptions, func(o string) bool {
		return !slices.Contains(a.Spec.SyncPolicy.SyncOptions, o)
	})
}

// write makes the Application want it all. What else is in its spec, such as a
// sync policy that somebody set, stays.
func (w wanted) write(object *unstructured.Unstructured, to place) error {
	if err := w.release.write(object); err != nil {
		return err
	}
	options, _, err := unstructured.NestedStringSlice(object.Object, "spec", "syncPolicy", "syncOptions")
	if err != nil {
		return err
	}
	ignored, _, err := unstructured.NestedSlice(object.Object, "spec", "ignoreDifferences")
	if err != nil {
		return err
	}
	destination := map[string]any{"namespace": to.Namespace}
	if to.Name != "" {
		destination["name"] = to.Name
	} else {
		destination["server"] = to.Server
	}
	for path, value := range map[string]any{"project": w.project, "destination": destination, "ignoreDifferences": ignoring(ignored)} {
		if err := unstructured.SetNestedField(object.Object, value, "spec", path); err != nil {
			return err
		}
	}
	return unstructured.SetNestedStringSlice(object.Object, w.merged(options), "spec", "syncPolicy", "syncOptions")
}

// merged are the options that are there with the wanted ones in place of those
// of the same name.
func (w wanted) merged(there []string) []string {
	merged := slices.Clone(w.syncOptions)
	for _, option := range there {
		merged = withOption(merged, option)
	}
	return merged
}

// previous is the release to roll back to, from the Application's annotation.
func previous(a *application) (release, bool) { return noted(a.Unstructured, marks.Previous) }

// noted reads a release from an annotation.
func noted(object *unstructured.Unstructured, key string) (release, bool) {
	var r release
	text := object.GetAnnotations()[key]
	if text == "" || utiljson.Unmarshal([]byte(text), &r) != nil || r.Source == nil {
		return release{}, false
	}
	return r, true
}

func note(object *unstructured.Unstructured, key string, r release) error {
	text, err := json.Marshal(r)
	if err == nil {
		annotate(object, key, string(text))
	}
	return err
}

// keepPrevious notes what the Application wants now as the release to go back
// to, if that is known to be good.
func keepPrevious(a *application) error {
	now := releaseOf(a)
	good := now.known() && a.Status.Sync.Status == api.Synced && a.Status.Sync.Revision == now.chart() && a.Status.Health.Status == api.Healthy
	if !good {
		return nil
	}
	return note(a.Unstructured, marks.Previous, now)
}

func annotate(object *unstructured.Unstructured, key, value string) {
	notes := object.GetAnnotations()
	if notes == nil {
		notes = map[string]string{}
	}
	notes[key] = value
	object.SetAnnotations(notes)
}

// owned fails for an Application that is not harmony's own for the app and
// target: one that somebody else made is left alone.
func (d *deployment) owned(a *application) error {
	d.adopted = "" // another process may have done it since
	labels := a.GetLabels()
	hint := "set the setting manage of the adapter to false to only sync it, or give the app an Application of another name with the setting application"
	switch {
	case len(a.GetOwnerReferences()) > 0 && !d.isOfSet(a):
		owner := a.GetOwnerReferences()[0]
		return protocol.Unsupported("%s belongs to %s %s", d.argo, owner.Kind, owner.Name).WithHint("%s", hint)
	case labels[marks.ManagedBy] != marks.Harmony && d.Adopt == capability.AdoptNothing:
		return protocol.Unsupported("%s was made by somebody else", d.argo).WithHint("%s, or %s", delivery.AdoptHint(d.App.Name), hint)
	case labels[marks.ManagedBy] != marks.Harmony:
		return d.adoptable(a)
	case labels[marks.App] != d.App.Name || labels[marks.Target] != d.Target:
		return protocol.Unsupported("%s is that of app %s for target %s", d.argo, labels[marks.App], labels[marks.Target]).
			WithHint("give the app an Application of another name with the setting application")
	}
	return nil
}

// isOfSet reports an Application of the ApplicationSet of the deployment, if there is one.
func (d *deployment) isOfSet(a *application) bool {
	owners := a.GetOwnerReferences()
	return d.set != "" && len(owners) == 1 && owners[0].Kind == setKind && owners[0].Name == d.set
}

// newObject is an object of harmony's without a spec.
func (d *deployment) newObject(kind string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"name": d.argo.name, "namespace": d.argo.namespace, "labels": map[string]any{
			marks.ManagedBy: marks.Harmony, marks.App: d.App.Name, marks.Target: d.Target,
		}},
		"spec": map[string]any{},
	}}
}

// respectIgnored has a sync leave alone what is ignored in a comparison.
const respectIgnored = "RespectIgnoreDifferences=true"

// autoscaled has Argo CD leave alone the fields that an autoscaler has set, which
// are the replicas of workloads: the HorizontalPodAutoscalers' controller, or
// KEDA where it scales to zero.
func autoscaled() []any {
	var rules []any
	for _, kind := range []string{"Deployment", "StatefulSet", "ReplicaSet"} {
		rules = append(rules, map[string]any{
			"group": "apps", "kind": kind, "managedFieldsManagers": []any{"kube-controller-manager", "keda", "keda-operator"},
		})
	}
	return rules
}

// ignoring returns the existing rules and those that are missing.
func ignoring(there []any) []any {
	all := slices.Clone(there)
	for _, rule := range autoscaled() {
		if !slices.ContainsFunc(all, func(r any) bool { return equality.Semantic.DeepEqual(r, rule) }) {
			all = append(all, rule)
		}
	}
	return all
}
