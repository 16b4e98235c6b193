package argocd

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// application is an Application: the object as it is, to be written back whole,
// and what is read of it.
type application struct {
	*unstructured.Unstructured
	view
}

// view is the part of an Application that is read.
type view struct {
	Operation *operation `json:"operation"`
	Spec      struct {
		Project     string `json:"project"`
		Destination place  `json:"destination"`
		Source      source `json:"source"`
		// Sources take the place of Source where there are several.
		Sources    []source `json:"sources"`
		SyncPolicy struct {
			Automated   *struct{} `json:"automated"`
			SyncOptions []string  `json:"syncOptions"`
		} `json:"syncPolicy"`
	} `json:"spec"`
	Status struct {
		ReconciledAt *metav1.Time `json:"reconciledAt"`
		Health       health       `json:"health"`
		Sync         struct {
			Status    string   `json:"status"`
			Revision  string   `json:"revision"`
			Revisions []string `json:"revisions"`
			// ComparedTo is what the objects were found to be as, or not.
			ComparedTo struct {
				Source map[string]any `json:"source"`
			} `json:"comparedTo"`
		} `json:"sync"`
		Conditions []condition `json:"conditions"`
		// Summary holds the images of the pods that live.
		Summary struct {
			Images []string `json:"images"`
		} `json:"summary"`
		Resources []resource `json:"resources"`
		// History has one entry for each sync that succeeded.
		History        []struct{}      `json:"history"`
		OperationState *operationState `json:"operationState"`
	} `json:"status"`
}

// place is a destination.
type place struct {
	Server    string `json:"server"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type source struct {
	RepoURL        string `json:"repoURL"`
	Chart          string `json:"chart"`
	TargetRevision string `json:"targetRevision"`
}

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type condition struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// resource is an object of the Application with its health; Status is Synced,
// OutOfSync or Unknown.
type resource struct {
	Group           string  `json:"group"`
	Version         string  `json:"version"`
	Kind            string  `json:"kind"`
	Status          string  `json:"status"`
	Namespace       string  `json:"namespace"`
	Name            string  `json:"name"`
	Hook            bool    `json:"hook"`
	RequiresPruning bool    `json:"requiresPruning"`
	Health          *health `json:"health"`
}

// operation is a request to the controller.
type operation struct {
	Info        []info `json:"info"`
	InitiatedBy struct {
		Username  string `json:"username"`
		Automated bool   `json:"automated"`
	} `json:"initiatedBy"`
}

type info struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// operationState is how far the last operation is.
type operationState struct {
	Operation  operation    `json:"operation"`
	Phase      string       `json:"phase"`
	Message    string       `json:"message"`
	StartedAt  metav1.Time  `json:"startedAt"`
	FinishedAt *metav1.Time `json:"finishedAt"`
	SyncResult *struct {
		Revision  string         `json:"revision"`
		Revisions []string       `json:"revisions"`
		Source    map[string]any `json:"source"`
		Resources []syncResource `json:"resources"`
	} `json:"syncResult"`
}

// syncResource is an object as an operation left it.
type syncResource struct {
	Group     string `json:"group"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Status is Synced, SyncFailed, Pruned or PruneSkipped.
	Status  string `json:"status"`
	Message string `json:"message"`
	// HookType is set for a hook, and HookPhase for whatever was started.
	HookType  string `json:"hookType"`
	HookPhase string `json:"hookPhase"`
}

// The phases of an operation.
const (
	phaseRunning     = "Running"
	phaseTerminating = "Terminating"
	phaseSucceeded   = "Succeeded"
	phaseFailed      = "Failed"
	phaseError       = "Error"
)

const (
	healthy  = "Healthy"
	degraded = "Degraded"
	synced   = "Synced"
)

func newApplication(object *unstructured.Unstructured) (*application, error) {
	a := &application{Unstructured: object}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &a.view); err != nil {
		return nil, fmt.Errorf("read Application %s: %w", object.GetName(), err)
	}
	return a, nil
}

// tokenName is the name of an operation's info that says whose it is.
const tokenName = "harmony.nationtech.io/token"

// token is that of the harmony which asked for the operation, or "".
func (o *operation) token() string {
	if o == nil {
		return ""
	}
	for _, i := range o.Info {
		if i.Name == tokenName {
			return i.Value
		}
	}
	return ""
}

// who is the operation's initiator, for people.
func (o *operation) who() string {
	switch {
	case o.token() != "":
		return "harmony"
	case o.InitiatedBy.Automated:
		return "Argo CD's automated sync"
	case o.InitiatedBy.Username != "":
		return o.InitiatedBy.Username
	}
	return "an unknown user"
}

// state is the state of the operation with the token; nil when the controller
// has not taken it up, or has taken up another.
func (a *application) state(token string) *operationState {
	if s := a.Status.OperationState; s != nil && s.Operation.token() == token {
		return s
	}
	return nil
}

// The conditions that keep an Application from being synced.
const (
	invalidSpec      = "InvalidSpecError"
	comparisonFailed = "ComparisonError"
)

// problem is the condition that keeps the Application from being synced; nil
// when there is none.
func (a *application) problem() *condition {
	for _, kind := range []string{invalidSpec, comparisonFailed} {
		for _, c := range a.Status.Conditions {
			if c.Type == kind {
				return &c
			}
		}
	}
	return nil
}

// sources are the one or several sources.
func (a *application) sources() []source {
	if len(a.Spec.Sources) > 0 {
		return a.Spec.Sources
	}
	return []source{a.Spec.Source}
}

// pick is the one of several revisions that is about the source with the
// index, or the only one.
func pick(revision string, revisions []string, index int) string {
	if index >= 0 && index < len(revisions) {
		return revisions[index]
	}
	return revision
}
