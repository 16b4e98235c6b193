package argocd

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	kubeconn "github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The group, version and kinds of Argo CD.
const (
	apiVersion  = "argoproj.io/v1alpha1"
	kind        = "Application"
	instruction = "is Argo CD installed there? The namespace and the context of Argo CD are settings of the adapter"
)

// argo is the cluster and namespace of Argo CD.
type argo struct {
	*kubeconn.Conn
	client       kubernetes.Interface
	applications dynamic.ResourceInterface
	projects     dynamic.ResourceInterface
	sets         dynamic.ResourceInterface
	namespace    string
	// name is that of the Application.
	name string
	// patience is that of a test; patience when zero.
	patience time.Duration
}

// connectArgo opens the way to Argo CD: that of the target, unless the settings
// name another context.
func (a *adapter) connectArgo(target *kubeconn.Conn) (*argo, error) {
	conn := target
	if a.settings.context != "" {
		flags := &kubeconn.Flags{}
		if a.flags != nil { // what the user said about the target is not about Argo CD
			flags.Kubeconfig, flags.Timeout = a.flags.Kubeconfig, a.flags.Timeout
		}
		topology := protocol.Topology{Metadata: a.env.Topology.Metadata, Targets: map[string]protocol.Target{
			Name: {InCluster: &protocol.InCluster{Context: a.settings.context, Namespace: a.settings.namespace}},
		}}
		var err error
		if conn, err = kubeconn.Connect(flags, topology, Name); err != nil {
			return nil, err
		}
	}
	client, err := kubernetes.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", conn.Context, err)
	}
	objects, err := dynamic.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", conn.Context, err)
	}
	return &argo{
		Conn: conn, client: client, namespace: a.settings.namespace,
		applications: objects.Resource(api.Applications).Namespace(a.settings.namespace),
		projects:     objects.Resource(api.Group.WithResource("appprojects")).Namespace(a.settings.namespace),
		sets:         objects.Resource(api.Group.WithResource("applicationsets")).Namespace(a.settings.namespace),
	}, nil
}

// String names the Application for people.
func (a *argo) String() string { return "Application " + a.namespace + "/" + a.name }

// get reads the Application; nil when there is none.
func (a *argo) get(ctx context.Context) (*application, error) {
	object, err := a.applications.Get(ctx, a.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && missingKind(err):
		return nil, protocol.Unsupported("%s does not know the kind %s of %s", a.Host(), kind, apiVersion).WithHint(instruction)
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", a, err)
	}
	return api.New(object)
}

// missingKind tells the answer of a server that has no such kind from that of
// one that has no such object.
func missingKind(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// Host is the API server's URL.
func (a *argo) Host() string { return strings.TrimSuffix(a.Config.Host, "/") }

// existing reads the Application that must be there. It is patient.
func (a *argo) existing(ctx context.Context) (*application, error) {
	var found *application
	err := a.patient(ctx, func() (err error) {
		found, err = a.get(ctx)
		return err
	})
	if err == nil && found == nil {
		return nil, fmt.Errorf("%s was deleted meanwhile", a)
	}
	return found, err
}

// patience is how long a request is repeated to a server that does not answer.
const patience = 2 * time.Minute

// patient repeats a request while the API server does not answer, or is busy.
func (a *argo) patient(ctx context.Context, request func() error) error {
	return delivery.Retry(ctx, a.Conn, cmp.Or(a.patience, patience), func(protocol.Event) {}, request)
}

// wait returns when the Application has changed since it was read, or after
// the time given.
func (a *argo) wait(ctx context.Context, seen *application, atMost time.Duration) error {
	return lease.AwaitChange(ctx, atMost, func(ctx context.Context) (watch.Interface, error) {
		return a.applications.Watch(ctx, metav1.ListOptions{
			FieldSelector:   fields.OneTermEqualSelector("metadata.name", a.name).String(),
			ResourceVersion: seen.GetResourceVersion(),
		})
	})
}

// errStale tells that the object was changed between reading and writing.
var errStale = protocol.Retryable("somebody else changed it at the same time")

// write writes the whole Application back, unless it was changed since it was
// read: then it is errStale.
func (a *argo) write(ctx context.Context, object *unstructured.Unstructured) error {
	_, err := a.applications.Update(ctx, object, metav1.UpdateOptions{FieldManager: "harmony"})
	switch {
	case apierrors.IsConflict(err):
		return fmt.Errorf("write %s: %w", a, errStale)
	case err != nil:
		return fmt.Errorf("write %s: %w", a, err)
	}
	return nil
}

// edit reads the Application, has it changed and writes it. It does so again, after
// a pause and for a bounded time, when another is quicker or the server does not
// answer. A change that answers false writes nothing.
func (a *argo) edit(ctx context.Context, change func(*application) (bool, error)) error {
	return a.patient(ctx, func() error {
		found, err := a.get(ctx)
		if err == nil && found == nil {
			err = fmt.Errorf("%s was deleted meanwhile", a)
		}
		if err != nil {
			return err
		}
		needed, err := change(found)
		if err != nil || !needed {
			return err
		}
		return a.write(ctx, found.Unstructured)
	})
}

// refresh asks the controller to look again at the source and at what runs. It
// takes the annotation away when it does.
func (a *argo) refresh(ctx context.Context) error {
	return a.edit(ctx, func(found *application) (bool, error) {
		if found.GetAnnotations()[annotationRefresh] != "" {
			return false, nil
		}
		annotate(found.Unstructured, annotationRefresh, "hard")
		return true, nil
	})
}

// nudge is a refresh that is a change to the Application in any case, so that
// the controller is told of it again.
func (a *argo) nudge(ctx context.Context) error {
	return a.edit(ctx, func(found *application) (bool, error) {
		kind := "hard"
		if found.GetAnnotations()[annotationRefresh] == kind {
			kind = "normal"
		}
		annotate(found.Unstructured, annotationRefresh, kind)
		return true, nil
	})
}

// project fails unless the AppProject exists.
func (a *argo) project(ctx context.Context, name string) error {
	_, err := a.projects.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return protocol.Unsupported("Argo CD has no AppProject %q in namespace %s", name, a.namespace).
			WithHint("make it, or set another as the adapter's setting project")
	case apierrors.IsForbidden(err) || meta.IsNoMatchError(err):
		return nil // Argo CD will tell
	}
	return err
}

// clean makes text of the cluster fit to be shown on one line.
func clean(text string) string { return rollout.Clean(strings.Join(strings.Fields(text), " ")) }
