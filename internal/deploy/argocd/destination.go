package argocd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// destination is the cluster and namespace that the app runs in. Argo CD writes
// there; harmony only reads.
type destination struct {
	*conn.Conn
	client  kubernetes.Interface
	dynamic dynamic.Interface
}

func newDestination(conn *conn.Conn) (*destination, error) {
	client, err := kubernetes.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", conn.Context, err)
	}
	objects, err := dynamic.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", conn.Context, err)
	}
	return &destination{Conn: conn, client: client, dynamic: objects}, nil
}

// checked fails for what the API server of the destination would refuse, before
// the Application is written. A chart that cannot be rendered here is left to Argo
// CD.
func (d *deployment) checked(ctx context.Context, first bool) error {
	client := memory.NewMemCacheClient(d.destination.client.Discovery())
	rendered, err := delivery.Render(ctx, client, d.app, d.target, d.destination.Namespace, d.chart, d.values, first)
	if err != nil {
		d.say("warning", "the chart is not checked before Argo CD gets it: %v", err)
		return nil
	}
	return delivery.Preview{
		Dynamic: d.destination.dynamic, Mapper: restmapper.NewDeferredDiscoveryRESTMapper(client), Namespace: d.destination.Namespace,
		Source: rendered.Source, BringsKinds: rendered.BringsKinds,
	}.Check(ctx, nil, rendered.Objects)
}

// inCluster is how Argo CD knows the cluster that it runs in.
const inCluster = "https://kubernetes.default.svc"

// places are the destinations that mean the target, as Argo CD may know it.
func (d *deployment) places() []place {
	namespace := d.destination.Namespace
	switch {
	case d.settings.name != "":
		return []place{{Name: d.settings.name, Namespace: namespace}}
	case d.settings.server != "":
		return []place{{Server: d.settings.server, Namespace: namespace}}
	}
	server := strings.TrimSuffix(d.destination.Config.Host, "/")
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

// servers are the API servers of the clusters that Argo CD was given.
func (a *argo) servers(ctx context.Context) ([]string, error) {
	list, err := a.client.CoreV1().Secrets(a.namespace).List(ctx, metav1.ListOptions{LabelSelector: "argocd.argoproj.io/secret-type=cluster"})
	if err != nil {
		return nil, err
	}
	var servers []string
	for _, secret := range list.Items {
		servers = append(servers, strings.TrimSuffix(string(secret.Data["server"]), "/"))
	}
	return servers, nil
}

// reference names an object on the destination cluster.
type reference struct{ group, version, kind, namespace, name string }

// objects reads those of the objects that may run pods. One that is gone, such
// as a Job that was deleted after its end, is left out.
func (d *destination) objects(ctx context.Context, references []reference) ([]*unstructured.Unstructured, error) {
	found := make([]*unstructured.Unstructured, len(references))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, r := range references {
		if !r.runsPods() {
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

func (d *destination) object(ctx context.Context, r reference) (*unstructured.Unstructured, error) {
	kind := schema.GroupVersionKind{Group: r.group, Version: r.version, Kind: r.kind}
	resource, _ := meta.UnsafeGuessKindToResource(kind)
	object, err := d.dynamic.Resource(resource).Namespace(r.namespace).Get(ctx, r.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", r.kind, r.name, err)
	}
	return object, nil
}

// runsPods reports an object that may have containers: a workload of
// Kubernetes, or a custom resource.
func (r reference) runsPods() bool {
	switch r.group {
	case "":
		return r.kind == "Pod" || r.kind == "ReplicationController"
	case "apps", "batch":
		return true
	}
	return strings.Contains(r.group, ".") && !strings.HasSuffix(r.group, ".k8s.io")
}
