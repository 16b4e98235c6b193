package argocd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// work is the state of one holder of the lease.
type work struct {
	*deployment
	to place
	// found is the Application as it was, and before the release in force then.
	found  *application
	before release
	// outcome is that of the work if it succeeds.
	outcome protocol.Outcome
	// created is the UID of the Application if it was made here, and written is
	// true once it was written to.
	created string
	written bool
}

// refusal is an error of Argo CD before it applied anything.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// errBusy means that another's operation came first, errReplaced that it took
// the place of ours.
var (
	errBusy     = errors.New("another operation is in progress")
	errReplaced = errors.New("another operation took the place of this one")
)

// do makes the Application want the release, and waits until it runs.
func (w *work) do(ctx context.Context) error {
	for {
		err := w.once(ctx)
		if !errors.Is(err, errBusy) && !errors.Is(err, errReplaced) {
			return err
		}
		w.Say("wait", "%s: %v", w.argo, err)
		if w.found, err = w.free(ctx); err != nil {
			return err
		}
		if w.found == nil {
			return fmt.Errorf("%s was deleted meanwhile", w.argo)
		}
	}
}

func (w *work) once(ctx context.Context) error {
	if !w.settings.manage {
		if err := w.awaitGit(ctx); err != nil {
			return err
		}
	}
	if w.applied(w.found) {
		if done, err := w.resume(ctx); done || err != nil {
			return err
		}
	}
	if w.found != nil && w.found.Operation.Token() != "" && w.wants(w.found) {
		w.Say("sync", "taking over the operation of a harmony process that has ended")
		return w.finish(ctx, w.found.Operation.Token())
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	token := rand.Text()
	if err := w.begin(ctx, token, w.writeWanted); err != nil {
		return err
	}
	return w.finish(ctx, token)
}

// resume continues with what was applied before: another did it meanwhile, or only
// the rollout is missing. It is not done when Argo CD finds that somebody
// changed the objects, which it may see later than harmony.
func (w *work) resume(ctx context.Context) (done bool, err error) {
	if runs, err := w.running(ctx, w.found); err != nil {
		return false, err
	} else if !runs {
		if err := w.look(ctx); err != nil || !w.applied(w.found) {
			return false, err
		}
		workloads, _, err := w.workloads(ctx, references(w.found))
		if err == nil {
			err = delivery.ReplaceStuck(ctx, w.Client, workloads)
		}
		if err != nil {
			return false, err
		}
	}
	err = w.follow(ctx, w.want.release, w.Image)
	if err == nil && !w.written {
		w.outcome = protocol.OutcomeUnchanged
	}
	if err == nil || ctx.Err() != nil {
		return true, err
	}
	found, readErr := w.argo.existing(ctx)
	if readErr != nil || w.applied(found) {
		return true, err
	}
	w.found = found
	return false, nil
}

// look has Argo CD refresh the Application.
func (w *work) look(ctx context.Context) error {
	asked := time.Now().Add(-time.Second)
	if err := w.argo.refresh(ctx); err != nil {
		return err
	}
	err := w.accepted(ctx, asked)
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.error // nothing was written that could be taken back
	}
	if err == nil {
		w.found, err = w.argo.existing(ctx)
	}
	return err
}

// applied reports that the last operation put into force what is wanted, and
// that nobody changed it since.
func (d *deployment) applied(found *application) bool {
	if found == nil || !d.wants(found) || found.Operation != nil || !d.inForce(found) {
		return false
	}
	s := found.Status.OperationState
	return s != nil && s.Phase == api.Succeeded && d.revisionOf(found, s) == d.want.chart()
}

func (w *work) finish(ctx context.Context, token string) error {
	if err := w.await(ctx, token, w.want.chart()); err != nil {
		return err
	}
	return w.follow(ctx, w.want.release, w.Image)
}

// settle makes an Application that is new, or that comes from or goes to
// another place, without an operation yet: Argo CD has to say first whether its
// project allows that.
func (w *work) settle(ctx context.Context) error {
	f := w.found
	placed := f != nil && f.Spec.Project == w.want.project && f.Spec.Source.RepoURL == w.Chart.URL && f.Spec.Destination == w.to && f.Problem() == nil
	if !w.settings.manage || placed {
		return nil
	}
	asked := metav1.Now()
	if w.found == nil {
		if err := w.create(ctx); err != nil {
			return err
		}
	} else if err := w.argo.edit(ctx, func(found *application) (bool, error) {
		if found.Operation != nil {
			return false, errBusy
		}
		annotate(found.Unstructured, annotationRefresh, "hard")
		return true, w.writeWanted(found)
	}); err != nil {
		return err
	}
	w.written = true
	return w.accepted(ctx, asked.Time)
}

func (w *work) create(ctx context.Context) error {
	w.Say("apply", "create %s", w.argo)
	object := w.newObject(kind)
	if err := w.want.write(object, w.to); err != nil {
		return err
	}
	annotate(object, annotationRefresh, "hard")
	return w.argo.patient(ctx, func() error {
		made, err := w.argo.applications.Create(ctx, object, metav1.CreateOptions{FieldManager: marks.Harmony})
		if apierrors.IsAlreadyExists(err) {
			// It is ours, of a request whose answer was lost, or another's.
			if made, err = w.argo.applications.Get(ctx, w.argo.name, metav1.GetOptions{}); err == nil {
				var there *application
				if there, err = api.New(made); err == nil {
					err = w.owned(there)
				}
			}
		}
		if err != nil {
			return fmt.Errorf("create %s: %w", w.argo, err)
		}
		w.created = string(made.GetUID())
		return nil
	})
}

// writeWanted writes the wanted release into the Application.
func (w *work) writeWanted(found *application) error {
	if !w.settings.manage || isOurs(found) && w.want.matches(found, []place{w.to}) {
		return nil
	}
	if !w.written {
		w.Say("apply", "%s: chart %s", w.argo, w.want.chart())
	}
	if err := keepPrevious(found); err != nil {
		return err
	}
	w.written = true
	w.mark(found.Unstructured)
	return w.want.write(found.Unstructured, w.to)
}

// takeBack leaves the Application as it was before, when Argo CD refused what
// was asked of it. It is done although the deploy's time may be over.
func (w *work) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if w.created != "" {
		uid := metav1.NewUIDPreconditions(w.created)
		err := w.argo.applications.Delete(ctx, w.argo.name, metav1.DeleteOptions{Preconditions: uid})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s again: %w", w.argo, err)
		}
		return nil
	}
	return w.argo.edit(ctx, func(now *application) (bool, error) {
		if now.Operation != nil && now.Operation.Token() == "" {
			return false, nil
		}
		return true, w.restore(now.Unstructured)
	})
}

// restore writes back what harmony may have changed.
func (w *work) restore(now *unstructured.Unstructured) error {
	withdraw(now)
	if !w.written || w.found == nil {
		return nil
	}
	now.SetAnnotations(marksOf(now.GetAnnotations(), w.found.GetAnnotations()))
	now.SetLabels(marksOf(now.GetLabels(), w.found.GetLabels()))
	spec, _, err := unstructured.NestedMap(w.found.Object, "spec")
	if err != nil {
		return err
	}
	return unstructured.SetNestedMap(now.Object, spec, "spec")
}

// marksOf are the labels or annotations of now, with those of harmony as they were
// before.
func marksOf(now, before map[string]string) map[string]string {
	ours := func(key, _ string) bool { return key == marks.ManagedBy || strings.HasPrefix(key, marks.Domain) }
	made := maps.Clone(before)
	maps.DeleteFunc(made, func(key, value string) bool { return !ours(key, value) })
	others := maps.Clone(now)
	maps.DeleteFunc(others, ours)
	if made == nil {
		return others
	}
	maps.Copy(made, others)
	return made
}
