package argocd

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// checked fails for what the API server of the destination would refuse, before
// the Application is written. A chart that cannot be rendered here is left to Argo
// CD.
func (d *deployment) checked(ctx context.Context, first bool) error {
	rendered, err := d.rendered(ctx, d.Namespace, first)
	if err != nil {
		d.Say("warning", "the chart is not checked before Argo CD gets it: %v", err)
		return nil
	}
	return delivery.Preview{Space: d.Space(), Source: rendered.Source, BringsKinds: rendered.BringsKinds}.Check(ctx, nil, rendered.Objects)
}

// rendered renders the chart, and keeps what it says of going back.
func (d *deployment) rendered(ctx context.Context, namespace string, first bool) (delivery.Rendered, error) {
	rendered, err := delivery.Render(ctx, d.Discovery, d.App, d.Target, namespace, d.Chart, d.Values.All, first)
	if d.Irreversible = rendered.Irreversible; err != nil {
		d.Irreversible = unread
	}
	return rendered, err
}

// unread stands for what a chart that could not be read may say of going back.
const unread = "the chart, perhaps: it could not be read here"

// inCluster is how Argo CD knows the cluster that it runs in.
const inCluster = "https://kubernetes.default.svc"

// places are the destinations that mean the target, as Argo CD may know it.
func (d *deployment) places() []place {
	namespace := d.Namespace
	switch {
	case d.settings.name != "":
		return []place{{Name: d.settings.name, Namespace: namespace}}
	case d.settings.server != "":
		return []place{{Server: d.settings.server, Namespace: namespace}}
	}
	server := strings.TrimSuffix(d.Config.Host, "/")
	found := []place{{Server: server, Namespace: namespace}}
	if server == d.argo.Host() {
		found = append(found, place{Server: inCluster, Namespace: namespace})
	}
	return found
}

// place is the destination to be written: the first of the possible ones that
// Argo CD has a cluster for.
func (d *deployment) place(ctx context.Context) (place, error) {
	places := d.places()
	if d.settings.name != "" || d.settings.server != "" {
		return places[0], nil
	}
	servers, err := d.argo.servers(ctx)
	switch {
	case apierrors.IsForbidden(err):
		return places[len(places)-1], nil // Argo CD will tell
	case err != nil:
		return place{}, fmt.Errorf("read the clusters of Argo CD: %w", err)
	}
	for _, p := range places {
		if p.Server == inCluster || slices.Contains(servers, p.Server) {
			return p, nil
		}
	}
	return place{}, protocol.Unsupported("Argo CD in namespace %s has no cluster %s", d.argo.namespace, places[0].Server).
		WithHint("add it to Argo CD, or say how Argo CD knows it with the setting destination: {name: …} or {server: …}; it has: %s", strings.Join(servers, ", "))
}

func (a *argo) servers(ctx context.Context) ([]string, error) {
	list, err := a.Client.CoreV1().Secrets(a.namespace).List(ctx, metav1.ListOptions{LabelSelector: "argocd.argoproj.io/secret-type=cluster"})
	if err != nil {
		return nil, err
	}
	var servers []string
	for _, secret := range list.Items {
		servers = append(servers, strings.TrimSuffix(string(secret.Data["server"]), "/"))
	}
	return servers, nil
}

// objects reads those of the objects that may run pods. One that is gone, such
// as a Job that was deleted after its end, is left out.
func (d *deployment) objects(ctx context.Context, references []reference) ([]*unstructured.Unstructured, error) {
	found := make([]*unstructured.Unstructured, len(references))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, r := range references {
		if !runsPods(r) {
			continue
		}
		group.Go(func() error {
			return delivery.Retry(ctx, d.Conn, patience, func(protocol.Event) {}, func() (err error) {
				found[i], err = d.object(ctx, r)
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(o *unstructured.Unstructured) bool { return o == nil }), nil
}

func (d *deployment) object(ctx context.Context, r reference) (*unstructured.Unstructured, error) {
	kind := schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
	resource, _ := meta.UnsafeGuessKindToResource(kind)
	object, err := d.Dynamic.Resource(resource).Namespace(r.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", r.Kind, r.Name, err)
	}
	return object, nil
}

// runsPods reports an object that may have containers: a workload of
// Kubernetes, or a custom resource.
func runsPods(r reference) bool {
	switch r.Group {
	case "":
		return r.Kind == "Pod" || r.Kind == "ReplicationController"
	case "apps", "batch":
		return true
	}
	return strings.Contains(r.Group, ".") && !strings.HasSuffix(r.Group, ".k8s.io")
}

// fromGit fails unless there is an Application for the chart, as Git has to
// give it when harmony does not manage it.
func (d *deployment) fromGit(found *application) error {
	hint := "with the setting manage: false it comes from Git; its name is the setting application, by default {app}-{target}"
	if found == nil {
		return protocol.Unsupported("there is no %s", d.argo).WithHint("%s", hint)
	}
	if d.sourceIndex(found) >= 0 {
		return d.sameDestination(found)
	}
	var repositories []string
	for _, s := range found.Sources() {
		repositories = append(repositories, strings.TrimSuffix(s.RepoURL+" "+s.Chart, " "))
	}
	return protocol.Unsupported("%s does not take the chart from %s, but from: %s", d.argo, d.Chart.URL, strings.Join(repositories, ", ")).
		WithHint("it needs a source with repoURL: %s and path: .", d.Chart.URL)
}

// sameDestination fails when the Application goes elsewhere than to the target,
// where nothing could be proven. A cluster by name is taken at its word.
func (d *deployment) sameDestination(found *application) error {
	goes := found.Spec.Destination
	for _, p := range d.places() {
		sameCluster := goes.Server == p.Server || goes.Name != "" && (p.Name == "" || p.Name == goes.Name)
		if sameCluster && goes.Namespace == p.Namespace {
			return nil
		}
	}
	return protocol.Unsupported("%s goes to namespace %s of %s, and target %q to namespace %s of %s", d.argo,
		goes.Namespace, goes.Server+goes.Name, d.Target, d.Namespace, d.Config.Host).
		WithHint("if it is the same cluster by another name, say how Argo CD knows it with the setting destination")
}

// gitRevision is the revision of the chart in Git: a digest, or a tag or range.
func (d *deployment) gitRevision(found *application) string {
	return found.Sources()[d.sourceIndex(found)].TargetRevision
}

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// gitWants reports that the Application wants the chart's digest. What a tag
// means is what Argo CD last found.
func (d *deployment) gitWants(found *application) bool {
	if found == nil || d.sourceIndex(found) < 0 {
		return false
	}
	revision := d.gitRevision(found)
	if !digestPattern.MatchString(revision) {
		revision = api.Pick(found.Status.Sync.Revision, found.Status.Sync.Revisions, d.sourceIndex(found))
	}
	return revision == d.want.chart()
}

// awaitGit has Argo CD resolve a tag again, and fails when Git wants
// another digest.
func (w *work) awaitGit(ctx context.Context) error {
	if !w.gitWants(w.found) && !digestPattern.MatchString(w.gitRevision(w.found)) {
		if err := w.look(ctx); err != nil {
			return err
		}
		if err := w.fromGit(w.found); err != nil {
			return err
		}
	}
	if w.gitWants(w.found) {
		return nil
	}
	return protocol.Retryable("%s does not want this release yet: Git has targetRevision %s, which is not %s", w.argo, w.gitRevision(w.found), w.want.chart()).
		WithHint("set targetRevision to %s in Git, and run again when Argo CD has taken it over", w.want.chart())
}
