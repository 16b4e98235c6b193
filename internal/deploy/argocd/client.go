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

	kubeconn "github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The group, version and kinds of Argo CD.
const (
	apiVersion = "argoproj.io/v1alpha1"
	kind       = "Application"
	setKind    = "ApplicationSet"
)

type argo struct {
	*delivery.Cluster
	applications, projects, sets dynamic.ResourceInterface
	namespace                    string
	// name is that of the Application or the ApplicationSet.
	name string
	// patience is that of a test; patience when zero.
	patience time.Duration
}

// connectArgo opens the way to Argo CD: that of the target, unless the settings
// name another context.
func (a *adapter) connectArgo(cluster *delivery.Cluster, name string) (*argo, error) {
	if a.hub != nil {
		cluster = a.hub
	} else if a.settings.context != "" {
		conn, err := a.connectContext(Name, a.settings.context, a.settings.namespace)
		if err != nil {
			return nil, err
		}
		if cluster, err = delivery.NewCluster(conn); err != nil {
			return nil, err
		}
	}
	resource := func(name string) dynamic.ResourceInterface {
		return cluster.Dynamic.Resource(api.Group.WithResource(name)).Namespace(a.settings.namespace)
	}
	return &argo{Cluster: cluster, namespace: a.settings.namespace, name: name,
		applications: resource("applications"), projects: resource("appprojects"), sets: resource("applicationsets")}, nil
}

// connectContext opens the way to a context. The user's flags about the target
// are not about Argo CD.
func (a *adapter) connectContext(target, context, namespace string) (*kubeconn.Conn, error) {
	flags := &kubeconn.Flags{}
	if a.Flags != nil {
		flags.Kubeconfig, flags.Timeout = a.Flags.Kubeconfig, a.Flags.Timeout
	}
	topology := protocol.Topology{Metadata: a.Env.Topology.Metadata, Targets: map[string]protocol.Target{
		target: {InCluster: &protocol.InCluster{Context: context, Namespace: namespace}},
	}}
	return kubeconn.Connect(flags, topology, target)
}

// String names the Application for people.
func (a *argo) String() string { return "Application " + a.namespace + "/" + a.name }

// get reads the Application; nil if it does not exist.
func (a *argo) get(ctx context.Context) (*application, error) {
	object, err := a.read(ctx, a.applications, kind)
	if object == nil {
		return nil, err
	}
	return api.New(object)
}

// read reads an object of a kind of Argo CD; nil if it does not exist.
func (a *argo) read(ctx context.Context, from dynamic.ResourceInterface, kind string) (*unstructured.Unstructured, error) {
	object, err := from.Get(ctx, a.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return nil, protocol.Unsupported("%s does not know the kind %s of %s", a.Host(), kind, apiVersion).
			WithHint("is Argo CD installed there? The namespace and the context of Argo CD are settings of the adapter")
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s %s/%s: %w", kind, a.namespace, a.name, err)
	}
	return object, nil
}

// Host is the API server's URL.
func (a *argo) Host() string { return strings.TrimSuffix(a.Config.Host, "/") }

// existing reads the Application, with retries; it must exist.
func (a *argo) existing(ctx context.Context) (*application, error) {
	found, err := delivery.Retried(ctx, a.patient, a.get)
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

// errStale is the conflict of an object that was changed between reading and
// writing it.
var errStale = protocol.Retryable("somebody else changed it at the same time")

func written(what any, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		err = errStale
	}
	return fmt.Errorf("write %s: %w", what, err)
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
		_, err = a.applications.Update(ctx, found.Unstructured, metav1.UpdateOptions{FieldManager: marks.Harmony})
		return written(a, err)
	})
}

// refresh asks the controller to read the source and the objects again. It
// removes the annotation when it does.
func (a *argo) refresh(ctx context.Context) error {
	return a.edit(ctx, func(found *application) (bool, error) {
		if found.GetAnnotations()[annotationRefresh] != "" {
			return false, nil
		}
		annotate(found.Unstructured, annotationRefresh, "hard")
		return true, nil
	})
}

// nudge is a refresh that changes the Application in any case, so that the
// controller is notified of it again.
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
