package argocd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// How long a sync window may seem to be closed, and an operation may take to end
// when it is told to.
const (
	windowGrace = 5 * time.Second
	endGrace    = 30 * time.Second
)

// nudge is after what silence the controller is asked once more: it can miss an
// Application that was deleted and made again at once.
const nudge = 4 * time.Second

// look is how often the Application is read without any change of it.
const look = time.Second

// silence is how long to wait for a sign of the controller. Its queue may be
// long, and a repository server that hangs takes a minute of its worker's time.
func (d *deployment) silence() time.Duration { return d.settings.timeout / 2 }

// revisionOf is the digest of the app's chart that an operation synced.
func (d *deployment) revisionOf(found *application, s *operationState) string {
	if s.SyncResult == nil {
		return ""
	}
	return api.Pick(s.SyncResult.Revision, s.SyncResult.Revisions, d.sourceIndex(found))
}

// begin asks the controller for a sync under the token, in the one write that
// also changes what the Application wants.
func (d *deployment) begin(ctx context.Context, token string, change func(*application) error) error {
	return d.argo.edit(ctx, func(found *application) (bool, error) {
		if found.Operation.Token() == token || found.State(token) != nil {
			return false, nil // an earlier request whose answer was lost
		}
		if found.Operation != nil {
			return false, errBusy
		}
		if err := change(found); err != nil {
			return false, err
		}
		return true, d.request(found.Unstructured, token)
	})
}

func (d *deployment) request(object *unstructured.Unstructured, token string) error {
	policy, _, err := unstructured.NestedMap(object.Object, "spec", "syncPolicy")
	if err != nil {
		return err
	}
	// Objects that the chart no longer has are deleted, as Helm does, unless Git
	// decides that.
	prune, _, _ := unstructured.NestedBool(policy, "automated", "prune")
	sync := map[string]any{"prune": d.settings.manage || prune}
	if options, ok := policy["syncOptions"]; ok {
		sync["syncOptions"] = options
	}
	if d.settings.manage {
		revision, _, err := unstructured.NestedString(object.Object, "spec", "source", "targetRevision")
		if err != nil {
			return err
		}
		sync["revision"] = revision
	}
	request := map[string]any{
		"info": []any{
			map[string]any{"name": marks.Token, "value": token},
			map[string]any{"name": "Reason", "value": fmt.Sprintf("harmony: %s %s for %s", d.App.Name, d.App.Version, d.Target)},
		},
		"initiatedBy": map[string]any{"username": marks.Harmony},
		"sync":        sync,
	}
	if retry, ok := policy["retry"]; ok {
		request["retry"] = retry
	}
	withdraw(object)
	object.Object["operation"] = request
	annotate(object, annotationRefresh, "hard")
	return nil
}

func withdraw(object *unstructured.Unstructured) {
	delete(object.Object, "operation")
	unstructured.RemoveNestedField(object.Object, "status", "operationState")
}

// await follows the operation with the token until it has synced the revision.
func (d *deployment) await(ctx context.Context, token, revision string) error {
	f := &following{deployment: d, asked: time.Now()}
	defer f.stop()
	for {
		found, err := d.argo.existing(ctx)
		if err != nil {
			return f.late(err)
		}
		s := found.State(token)
		if s == nil && found.Operation.Token() != token {
			return errReplaced
		}
		done, err := f.look(ctx, found, s, revision)
		if done || err != nil {
			return err
		}
		if err := d.argo.wait(ctx, found, look); err != nil {
			return f.late(err)
		}
	}
}

// terminate ends the operation with the token, and waits until it has ended.
func (d *deployment) terminate(ctx context.Context, token string) error {
	d.Say("sync", "end the operation in progress on %s", d.argo)
	ctx, cancel := context.WithTimeout(ctx, endGrace)
	defer cancel()
	for asked := time.Now(); ; {
		var seen *application
		over := false
		err := d.argo.edit(ctx, func(found *application) (bool, error) {
			seen = found
			s := found.State(token)
			if over = found.Operation.Token() != token; over {
				return false, nil
			}
			if s == nil || time.Since(asked) > endGrace/2 {
				// Not taken up, or held by a sync window: nobody works on it.
				over = true
				withdraw(found.Unstructured)
				return true, nil
			}
			if s.Phase == api.Terminating {
				return false, nil
			}
			return true, unstructured.SetNestedField(found.Object, api.Terminating, "status", "operationState", "phase")
		})
		if err != nil || over {
			return err
		}
		if err := d.argo.wait(ctx, seen, look); err != nil {
			return err
		}
	}
}

// accepted waits until the controller has looked at the Application after it
// was asked to, and tells what it finds wrong with it.
func (d *deployment) accepted(ctx context.Context, asked time.Time) error {
	for nudged := asked; ; {
		found, err := d.argo.existing(ctx)
		if err != nil {
			return err
		}
		if c := found.Problem(); looked(found, asked) {
			if c != nil {
				return &refusal{d.complaint(*c)}
			}
			return nil
		}
		if time.Since(asked) > d.silence() {
			return &refusal{d.silent()}
		}
		if time.Since(nudged) > nudge {
			nudged = time.Now()
			if err := d.argo.nudge(ctx); err != nil {
				return err
			}
		}
		err = d.argo.wait(ctx, found, look)
		if errors.Is(err, context.DeadlineExceeded) {
			return &refusal{d.silent()}
		}
		if err != nil {
			return err
		}
	}
}

// looked reports that the controller has done what the annotation asked for. It
// compares nothing, and gives no time, when it finds the spec invalid.
func looked(found *application, asked time.Time) bool {
	if found.GetAnnotations()[annotationRefresh] != "" {
		return false
	}
	if c := found.Problem(); c != nil && c.Type == api.InvalidSpec {
		return true
	}
	at := found.Status.ReconciledAt
	return at != nil && !at.Time.Before(asked.Truncate(time.Second))
}

func (d *deployment) silent() error {
	return protocol.Retryable("Argo CD does not answer: its application controller did not process %s within %s", d.argo, d.silence()).
		WithHint("does the application controller run, and does it watch namespace %s?", d.argo.namespace)
}

// complaint is the error for a condition of the Application. A spec that the
// project does not allow is up to the topology.
func (d *deployment) complaint(c condition) error {
	message := delivery.Clean(c.Message)
	if c.Type == api.InvalidSpec {
		return protocol.Unsupported("%s: %s", d.argo, message).WithHint("change AppProject %q, or the adapter's settings project and destination", d.settings.project)
	}
	// The chart cannot be fetched or rendered.
	for _, passing := range []string{"connection refused", "i/o timeout", "deadline exceeded", "Too Many Requests", "Service Unavailable", "no such host", "Unavailable"} {
		if strings.Contains(message, passing) {
			return protocol.Retryable("%s: %s", d.argo, message).WithHint("can Argo CD reach the registry of %s?", d.Chart.URL)
		}
	}
	return fmt.Errorf("%s: %s", d.argo, message)
}
