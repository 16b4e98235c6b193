// Package api is what harmony reads of Argo CD's objects.
package api

import (
	"cmp"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/status"
)

// Group is Argo CD's, and Applications are its resource.
var (
	Group        = schema.GroupVersion{Group: "argoproj.io", Version: "v1alpha1"}
	Applications = Group.WithResource("applications")
)

// Application is an Application: the object as it is, to be written back whole,
// and what is read of it.
type Application struct {
	*unstructured.Unstructured
	View
}

// View is the part of an Application that is read.
type View struct {
	Operation *Operation `json:"operation"`
	Spec      struct {
		Project     string `json:"project"`
		Destination Place  `json:"destination"`
		Source      Source `json:"source"`
		// Sources take the place of Source where there are several.
		Sources    []Source `json:"sources"`
		SyncPolicy struct {
			Automated   *struct{} `json:"automated"`
			SyncOptions []string  `json:"syncOptions"`
		} `json:"syncPolicy"`
	} `json:"spec"`
	Status struct {
		ReconciledAt *metav1.Time `json:"reconciledAt"`
		Health       Health       `json:"health"`
		Sync         struct {
			Status    string   `json:"status"`
			Revision  string   `json:"revision"`
			Revisions []string `json:"revisions"`
			// ComparedTo is what the objects were found to be as, or not.
			ComparedTo struct {
				Source map[string]any `json:"source"`
			} `json:"comparedTo"`
		} `json:"sync"`
		Conditions []Condition `json:"conditions"`
		// Summary holds the images of the pods that live.
		Summary struct {
			Images []string `json:"images"`
		} `json:"summary"`
		Resources []Resource `json:"resources"`
		// History has one entry for each sync that succeeded.
		History        []struct{}      `json:"history"`
		OperationState *OperationState `json:"operationState"`
	} `json:"status"`
}

// Place is a destination.
type Place struct {
	Server    string `json:"server"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type Source struct {
	RepoURL        string `json:"repoURL"`
	Chart          string `json:"chart"`
	TargetRevision string `json:"targetRevision"`
}

type Health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type Condition struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// Reference names an object on the destination cluster.
type Reference struct {
	Group     string `json:"group"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String is kind/name as kubectl takes it.
func (r Reference) String() string { return strings.ToLower(r.Kind) + "/" + r.Name }

// Resource is an object of the Application with its health; Status is Synced,
// OutOfSync or Unknown.
type Resource struct {
	Reference       `json:",inline"`
	Status          string  `json:"status"`
	Hook            bool    `json:"hook"`
	RequiresPruning bool    `json:"requiresPruning"`
	Health          *Health `json:"health"`
}

// Operation is a request to the controller.
type Operation struct {
	Info        []Info `json:"info"`
	InitiatedBy struct {
		Username  string `json:"username"`
		Automated bool   `json:"automated"`
	} `json:"initiatedBy"`
}

type Info struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// OperationState is how far the last operation is.
type OperationState struct {
	Operation  Operation    `json:"operation"`
	Phase      string       `json:"phase"`
	Message    string       `json:"message"`
	StartedAt  metav1.Time  `json:"startedAt"`
	FinishedAt *metav1.Time `json:"finishedAt"`
	SyncResult *struct {
		Revision  string         `json:"revision"`
		Revisions []string       `json:"revisions"`
		Source    map[string]any `json:"source"`
		Resources []SyncResource `json:"resources"`
	} `json:"syncResult"`
}

// SyncResource is an object as an operation left it.
type SyncResource struct {
	Reference `json:",inline"`
	// Status is Synced, SyncFailed, Pruned or PruneSkipped.
	Status  string `json:"status"`
	Message string `json:"message"`
	// HookType is set for a hook, and HookPhase for whatever was started.
	HookType  string `json:"hookType"`
	HookPhase string `json:"hookPhase"`
}

// The phases of an operation.
const (
	Running     = "Running"
	Terminating = "Terminating"
	Succeeded   = "Succeeded"
	Failed      = "Failed"
	Error       = "Error"
)

const (
	Healthy   = "Healthy"
	Degraded  = "Degraded"
	Suspended = "Suspended"
	Synced    = "Synced"
)

func New(object *unstructured.Unstructured) (*Application, error) {
	a := &Application{Unstructured: object}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &a.View); err != nil {
		return nil, fmt.Errorf("read Application %s: %w", object.GetName(), err)
	}
	return a, nil
}

// Token is that of the harmony which asked for the operation, or "".
func (o *Operation) Token() string {
	if o == nil {
		return ""
	}
	for _, i := range o.Info {
		if i.Name == marks.Token {
			return i.Value
		}
	}
	return ""
}

// Who is the operation's initiator, for people.
func (o *Operation) Who() string {
	switch {
	case o.Token() != "":
		return "harmony"
	case o.InitiatedBy.Automated:
		return "Argo CD's automated sync"
	case o.InitiatedBy.Username != "":
		return o.InitiatedBy.Username
	}
	return "an unknown user"
}

// State is the state of the operation with the token; nil when the controller
// has not taken it up, or has taken up another.
func (a *Application) State(token string) *OperationState {
	if s := a.Status.OperationState; s != nil && s.Operation.Token() == token {
		return s
	}
	return nil
}

// The conditions that keep an Application from being synced.
const (
	InvalidSpec      = "InvalidSpecError"
	ComparisonFailed = "ComparisonError"
)

// Problem is the condition that keeps the Application from being synced; nil
// when there is none.
func (a *Application) Problem() *Condition {
	for _, kind := range []string{InvalidSpec, ComparisonFailed} {
		for _, c := range a.Status.Conditions {
			if c.Type == kind {
				return &c
			}
		}
	}
	return nil
}

// Sources are the one or several sources.
func (a *Application) Sources() []Source {
	if len(a.Spec.Sources) > 0 {
		return a.Spec.Sources
	}
	return []Source{a.Spec.Source}
}

// Pick is the one of several revisions that is about the source with the
// index, or the only one.
func Pick(revision string, revisions []string, index int) string {
	if index >= 0 && index < len(revisions) {
		return revisions[index]
	}
	return revision
}

// Bad reports a hook that failed.
func (r SyncResource) Bad() bool { return r.HookPhase == Failed || r.HookPhase == Error }

// String is the object with its result.
func (r SyncResource) String() string {
	status := r.Status
	if r.HookType != "" {
		status = r.HookType + " hook " + r.HookPhase
	}
	text := r.Reference.String() + " " + status
	if r.Message != "" {
		text += ": " + r.Message
	}
	return text
}

// suspended names the objects that are paused, such as a Rollout of Argo Rollouts, and
// what they wait for, as far as Argo CD keeps that.
func (a *Application) suspended() string {
	var lines []string
	for _, r := range a.Status.Resources {
		if r.Health != nil && r.Health.Status == Suspended {
			lines = append(lines, strings.TrimSuffix(r.Kind+" "+r.Name+": "+r.Health.Message, ": "))
		}
	}
	return strings.Join(lines, ", ")
}

// Entry is the status of the app according to the Application.
func (a *Application) Entry() status.Entry {
	e := status.Entry{Adapter: "argocd", Object: "Application " + a.GetNamespace() + "/" + a.GetName(), State: cmp.Or(a.Status.Sync.Status, status.Unknown)}
	e.Annotated(a.GetAnnotations())
	if revision := a.Status.Sync.Revision; strings.HasPrefix(revision, "sha256:") {
		e.Chart = revision
	}
	message := ""
	if s := a.Status.OperationState; s != nil {
		message = s.Message
		if s.FinishedAt != nil {
			e.Since = new(s.FinishedAt.UTC())
		}
	}
	if a.Status.Health.Status == Suspended && e.State == Synced { // the sync is not what is waited for
		message = a.suspended()
	}
	if e.Healthy = a.Status.Health.Status == Healthy && e.State == Synced; !e.Healthy {
		e.Message = strings.TrimSpace(a.Status.Health.Status + " " + message)
	}
	for _, r := range a.Status.Resources {
		if r.Status == "OutOfSync" && e.State == r.Status {
			e.Drift = append(e.Drift, r.Kind+" "+r.Name+" is out of sync")
		}
	}
	return e
}

// Delivers reports that the Application is the app's in the namespace.
func (a *Application) Delivers(namespace, app string) bool {
	return a.Spec.Destination.Namespace == namespace && (a.GetName() == app || a.GetLabels()[marks.App] == app)
}

// Done reports an operation that is over. One that is running although it has
// an end is about to be tried again.
func (s *OperationState) Done() bool {
	return s.Phase == Succeeded || s.Phase == Failed || s.Phase == Error
}

// Failures are the objects that could not be synced, a line each.
func (s *OperationState) Failures() []string {
	var lines []string
	if s.SyncResult != nil {
		for _, r := range s.SyncResult.Resources {
			if r.Bad() || r.Status == "SyncFailed" {
				lines = append(lines, rollout.Clean(strings.Join(strings.Fields(r.String()), " ")))
			}
		}
	}
	return lines
}
