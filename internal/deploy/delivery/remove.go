package delivery

import (
	"context"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/removal"
	"github.com/nationtech/harmony/pkg/protocol"
)

// RemovalOf is what an uninstall does with the objects of a Helm release. The
// CustomResourceDefinitions of the chart's crds folder and the objects of hooks are
// not the release's: they stay.
func (c *Call) RemovalOf(r *release.Release) (removal.Plan, error) {
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return removal.Plan{}, err
	}
	p := removal.Of(c.Space(), c.App.Name, objects)
	var others []string
	for _, hook := range r.Hooks {
		others = append(others, hook.Manifest)
	}
	if r.Chart != nil {
		for _, crd := range r.Chart.CRDObjects() {
			others = append(others, string(crd.File.Data))
		}
	}
	for _, text := range others {
		more, err := manifest.Parse(text)
		if err != nil {
			return removal.Plan{}, err
		}
		p.Stays = append(p.Stays, more...)
	}
	return p, nil
}

// Absent is the result of an uninstall that found nothing.
func (c *Call) Absent(adapter string) protocol.DeployResult {
	return c.Result(adapter, protocol.OutcomeAbsent)
}

// Gone is the result of an uninstall, with what stays; in a dry run, what would.
func (c *Call) Gone(ctx context.Context, adapter string, p removal.Plan) (protocol.DeployResult, error) {
	r := c.Result(adapter, protocol.OutcomeRemoved)
	kept, err := p.Kept(ctx)
	r.Removed, r.Kept = p.Removed(), kept
	for _, list := range [][]protocol.ObjectRef{r.Removed, r.Kept} {
		for i := range list {
			list[i].Context = c.Context
		}
	}
	return r, err
}

// AwaitGone waits until the objects are gone, and shows it.
func (c *Call) AwaitGone(ctx context.Context, p removal.Plan) error {
	return p.Wait(ctx, func(gone, of int, waitsFor protocol.ObjectRef) {
		c.Progress(protocol.Event{Phase: "remove", Current: int64(gone), Total: int64(of), Unit: "objects", Message: "waits for " + waitsFor.String() + " to go,"})
	})
}

// KeepsOthers fails for an object that the adapter's controller would delete with
// objects that are not the release's.
func KeepsOthers(controller string, objects []*unstructured.Unstructured) error {
	var names []string
	for _, o := range objects {
		if removal.HoldsOthers(o) && !removal.MarkedKept(o) {
			names = append(names, o.GetKind()+" "+o.GetName())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return protocol.Unsupported("%s would delete %s of the chart, with everything in it", controller, strings.Join(names, ", ")).
		WithHint("annotate it in the chart with %s: %s, deploy, and run this again", removal.PolicyAnnotation, removal.PolicyKeep)
}

// NotOurs is the error for an app that harmony did not deliver.
func NotOurs(what, by string) *protocol.Error {
	return protocol.Unsupported("%s was made by %s, not by harmony", what, by)
}

// Uninstalling names an uninstall for people.
func (c *Call) Uninstalling() string { return "uninstall " + c.App.Name + " from " + c.Target }
