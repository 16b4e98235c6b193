package removal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Delete deletes the objects that go and are not being deleted, each once those
// that it owns are gone.
func (p Plan) Delete(ctx context.Context) error {
	for _, o := range p.Goes {
		found, err := p.get(ctx, o)
		if err != nil {
			return err
		}
		if found == nil || found.GetDeletionTimestamp() != nil {
			continue
		}
		resource, _, err := p.Space.Resource(o)
		if err != nil {
			return err
		}
		foreground := metav1.DeletePropagationForeground
		err = resource.Delete(ctx, o.GetName(), metav1.DeleteOptions{
			PropagationPolicy: &foreground, Preconditions: metav1.NewUIDPreconditions(string(found.GetUID())),
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete %s: %w", p.reference(o), err)
		}
	}
	return nil
}

// pause is how long an object is waited for without a word from its watch.
const pause = 2 * time.Second

// Wait returns when no object that goes exists any more. What is left when the
// context's deadline comes is a [protocol.Error] that names it with its
// finalizers: of status protocol.ExitFailed when a finalizer holds it, and
// protocol.ExitRetryable when it only takes long.
func (p Plan) Wait(ctx context.Context, progress func(gone, of int, waitsFor protocol.ObjectRef)) error {
	for i, o := range p.Goes {
		for {
			found, err := p.get(ctx, o)
			switch {
			case ctx.Err() != nil:
				return p.late(ctx)
			case err != nil:
				return err
			}
			if found == nil {
				break
			}
			progress(i, len(p.Goes), p.reference(o))
			if err := p.changed(ctx, found); err != nil {
				return p.late(ctx)
			}
		}
	}
	return nil
}

// changed returns when the object has changed since it was read, or after the
// pause.
func (p Plan) changed(ctx context.Context, found *unstructured.Unstructured) error {
	resource, _, err := p.Space.Resource(found)
	if err != nil {
		return err
	}
	return lease.AwaitChange(ctx, pause, func(ctx context.Context) (watch.Interface, error) {
		return resource.Watch(ctx, metav1.ListOptions{
			FieldSelector:   fields.OneTermEqualSelector("metadata.name", found.GetName()).String(),
			ResourceVersion: found.GetResourceVersion(),
		})
	})
}

// late is the error for a context that ended: that of the context, or, when its
// time is up, what is left.
func (p Plan) late(ctx context.Context) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	if err := p.Left(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// looking bounds how long it takes to see what is left when the time is up.
const looking = 10 * time.Second

// Left is the error that [Plan.Wait] ends with for what is left; nil when nothing
// is. The context may have ended.
func (p Plan) Left(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), looking)
	defer cancel()
	var lines []string
	held := false
	for _, o := range p.Goes {
		found, err := p.get(ctx, o)
		if err != nil || found == nil {
			continue
		}
		for _, one := range append(p.pods(ctx, found), found) {
			line, finalizers := p.describe(one)
			lines, held = append(lines, line), held || finalizers
		}
	}
	if len(lines) == 0 {
		return nil
	}
	told := &protocol.Error{
		Code:    protocol.ExitRetryable,
		Message: "these objects of " + p.App + " are not gone:\n  " + strings.Join(lines, "\n  "),
		Hint:    "run it again, or set a longer timeout in the adapter's settings",
	}
	if held {
		told.Code, told.Hint = protocol.ExitFailed, "a finalizer is removed by the controller that set it: see that it runs, and run this again"
	}
	return told
}

// pods are those of a workload, which is not gone before them.
func (p Plan) pods(ctx context.Context, o *unstructured.Unstructured) []*unstructured.Unstructured {
	workloads, err := rollout.Workloads([]*unstructured.Unstructured{o}, p.Space.Namespace)
	if err != nil || len(workloads) == 0 || workloads[0].Selector == nil {
		return nil
	}
	list, err := p.in(o, "pods").List(ctx, metav1.ListOptions{LabelSelector: workloads[0].Selector.String()})
	if err != nil {
		return nil // the workload itself is named
	}
	var found []*unstructured.Unstructured
	for i := range list.Items {
		pod := &list.Items[i]
		pod.SetAPIVersion("v1")
		pod.SetKind("Pod")
		found = append(found, pod)
	}
	return found
}

// describe says what holds an object, and whether that is a finalizer of somebody
// else than Kubernetes' garbage collector.
func (p Plan) describe(o *unstructured.Unstructured) (line string, held bool) {
	r := p.reference(o)
	line = r.String()
	if r.Namespace != "" {
		line += " in namespace " + r.Namespace
	}
	finalizers := slices.DeleteFunc(o.GetFinalizers(), func(f string) bool {
		return f == metav1.FinalizerDeleteDependents || f == metav1.FinalizerOrphanDependents
	})
	switch {
	case len(finalizers) > 0:
		return line + " has the finalizer " + strings.Join(finalizers, ", "), true
	case o.GetDeletionTimestamp() == nil:
		return line + " is not being deleted", false
	}
	return line + " is being deleted since " + o.GetDeletionTimestamp().UTC().Format(time.TimeOnly), false
}
