package prometheusoperator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

// manager is the name under which fields are ours.
const manager = "harmony-monitor"

// namespace is one app in one namespace of one cluster.
type namespace struct {
	*conn.Conn
	place
	client   dynamic.Interface
	dryRun   bool
	progress func(message string)
}

// reconcile makes the objects of the app what they are to be. All kinds are
// read before one is written: an app is refused as a whole.
func (n *namespace) reconcile(ctx context.Context) ([]protocol.MonitoringObject, error) {
	wanted := n.wanted()
	var works []*work
	for _, k := range kinds() {
		works = append(works, &work{namespace: n, kind: k, wanted: wanted[k.name]})
	}
	var reading errgroup.Group
	for _, w := range works {
		reading.Go(func() error { return w.read(ctx) })
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	var changes []protocol.MonitoringObject
	for _, w := range works {
		done, err := w.do(ctx)
		if err != nil {
			return nil, err
		}
		changes = append(changes, done...)
	}
	return changes, nil
}

type work struct {
	*namespace
	kind   kind
	wanted map[string]map[string]any
	live   map[string]*unstructured.Unstructured
}

func (w *work) resource() dynamic.ResourceInterface {
	return w.client.Resource(w.kind.resource).Namespace(w.place.namespace)
}

// read reads our objects, and those that are in the way.
func (w *work) read(ctx context.Context) error {
	w.live = map[string]*unstructured.Unstructured{}
	selector := labels.SelectorFromSet(labels.Set{marks.App: w.app.Name, marks.ManagedBy: marks.Harmony})
	list, err := w.resource().List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	switch {
	case isNotServed(err) && len(w.wanted) == 0:
		return nil // a kind that the cluster does not have has no objects
	case isNotServed(err):
		return w.notInstalled()
	case err != nil:
		return fmt.Errorf("list %s of namespace %s: %w", w.kind.resource.Resource, w.place.namespace, err)
	}
	for _, object := range list.Items {
		w.live[object.GetName()] = &object
	}
	for name := range w.wanted {
		if w.live[name] != nil {
			continue
		}
		object, err := w.resource().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return fmt.Errorf("read %s %s/%s: %w", w.kind.name, w.place.namespace, name, err)
		case !w.isOurs(object):
			return foreign(object)
		default:
			w.live[name] = object
		}
	}
	return w.refuseDeleted()
}

// isNotServed reports that the API server does not know the kind at all.
func isNotServed(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

func (w *work) notInstalled() error {
	where := ""
	if w.Context != "" {
		where = fmt.Sprintf(" of context %q", w.Context)
	}
	return protocol.Unsupported("the cluster%s has no Prometheus operator: it does not serve %s of %s", where, w.kind.resource.Resource, w.kind.resource.GroupVersion()).
		WithHint("install the operator with its custom resource definitions, or choose another adapter in spec.monitoring of the topology, such as none")
}

// isOurs reports an object that we wrote for this app, and from which somebody
// removed the labels.
func (w *work) isOurs(object *unstructured.Unstructured) bool {
	app, labelled := object.GetLabels()[marks.App]
	return (!labelled || app == w.app.Name) && slices.ContainsFunc(object.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == manager && f.Operation == metav1.ManagedFieldsOperationApply
	})
}

func foreign(object *unstructured.Unstructured) error {
	by := "somebody else"
	if fields := object.GetManagedFields(); len(fields) > 0 {
		by = fields[0].Manager
	}
	if app := object.GetLabels()[marks.App]; app != "" {
		by = "harmony for app " + app
	}
	return &protocol.Error{
		Code:    protocol.ExitFailed,
		Message: fmt.Sprintf("%s %s/%s exists already: it was made by %s, and is left as it is", object.GetKind(), object.GetNamespace(), object.GetName(), by),
		Hint:    "remove it from where it comes from (a chart, perhaps), or take it out of spec.monitoring of the app",
	}
}

func (w *work) refuseDeleted() error {
	for _, name := range slices.Sorted(maps.Keys(w.wanted)) {
		if live := w.live[name]; live != nil && live.GetDeletionTimestamp() != nil {
			return protocol.Retryable("%s %s/%s is being deleted, since %s", w.kind.name, w.place.namespace, name,
				live.GetDeletionTimestamp().UTC().Format("2006-01-02 15:04:05 MST"))
		}
	}
	return nil
}

// do writes what is wanted, then removes what is not.
func (w *work) do(ctx context.Context) ([]protocol.MonitoringObject, error) {
	var done []protocol.MonitoringObject
	for _, name := range slices.Sorted(maps.Keys(w.wanted)) {
		change, err := w.write(ctx, name)
		if err != nil {
			return nil, w.explain("write", name, err)
		}
		done = append(done, protocol.MonitoringObject{Kind: w.kind.name, Name: name, Change: change})
	}
	for _, name := range slices.Sorted(maps.Keys(w.live)) {
		if w.wanted[name] != nil {
			continue
		}
		if err := w.remove(ctx, w.live[name]); err != nil {
			return nil, w.explain("remove", name, err)
		}
		done = append(done, protocol.MonitoringObject{Kind: w.kind.name, Name: name, Change: protocol.ChangeRemoved})
	}
	return done, nil
}

func (w *work) write(ctx context.Context, name string) (protocol.Change, error) {
	want, live := w.object(w.kind, name, w.wanted[name]), w.live[name]
	if live == nil {
		w.progress("create " + w.kind.name + " " + name)
		_, err := w.apply(ctx, want, false)
		if w.dryRun && isNoNamespace(err) {
			err = nil // the deploy before makes it
		}
		return protocol.ChangeCreated, err
	}
	expected, err := w.expect(ctx, live, want)
	if err != nil {
		return "", err
	}
	if same(live, expected) {
		return protocol.ChangeUnchanged, nil
	}
	if w.dryRun {
		return protocol.ChangeUpdated, nil
	}
	w.progress("update " + w.kind.name + " " + name)
	applied, err := w.apply(ctx, want, true)
	if err != nil || reflect.DeepEqual(applied.Object["spec"], expected.Object["spec"]) {
		return protocol.ChangeUpdated, err
	}
	// Somebody has put further fields into the spec, which apply leaves alone.
	_, err = w.resource().Update(ctx, merged(applied, want), metav1.UpdateOptions{FieldManager: manager})
	return protocol.ChangeUpdated, err
}

// expect is what the server would have of the object: what is live, with our
// labels and our spec. The server is asked only when that is not live already:
// it may fill in defaults.
func (w *work) expect(ctx context.Context, live, want *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	whole := merged(live, want)
	if same(live, whole) {
		return whole, nil
	}
	return w.resource().Update(ctx, whole, metav1.UpdateOptions{FieldManager: manager, DryRun: []string{metav1.DryRunAll}})
}

// merged is live with the labels and the spec of want.
func merged(live, want *unstructured.Unstructured) *unstructured.Unstructured {
	whole := live.DeepCopy()
	labels := whole.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, want.GetLabels())
	whole.SetLabels(labels)
	whole.Object["spec"] = want.Object["spec"]
	return whole
}

// same compares what people write in two objects.
func same(a, b *unstructured.Unstructured) bool {
	return reflect.DeepEqual(a.GetLabels(), b.GetLabels()) && reflect.DeepEqual(a.Object["spec"], b.Object["spec"])
}

// apply writes an object by server-side apply. Fields that others have set are
// taken back with force only.
func (w *work) apply(ctx context.Context, want *unstructured.Unstructured, force bool) (*unstructured.Unstructured, error) {
	options := metav1.ApplyOptions{FieldManager: manager, Force: force}
	if w.dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return w.resource().Apply(ctx, want.GetName(), want, options)
}

func (w *work) remove(ctx context.Context, object *unstructured.Unstructured) error {
	if w.dryRun {
		return nil
	}
	w.progress("remove " + w.kind.name + " " + object.GetName())
	err := w.resource().Delete(ctx, object.GetName(), metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(object.GetUID()))})
	if apierrors.IsNotFound(err) || object.GetDeletionTimestamp() != nil {
		return nil // it goes, or is gone
	}
	return err
}

func isNoNamespace(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Kind == "namespaces"
}

// explain adds a status and a hint to the error of a write or a removal.
func (w *work) explain(verb, name string, err error) error {
	told := fmt.Errorf("%s %s %s/%s: %w", verb, w.kind.name, w.place.namespace, name, err)
	switch {
	case isNoNamespace(err):
		return &protocol.Error{Code: protocol.ExitFailed, Err: told, Hint: "deploy the app to this target first"}
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return &protocol.Error{Code: protocol.ExitInvalid, Err: told}
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		return protocol.Retryable("%w", told).WithHint("somebody else changed it at the same time")
	}
	return told
}
