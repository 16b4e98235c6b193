package argocd

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// isOurs reports an Application that harmony made or took over.
func isOurs(a *application) bool { return a != nil && a.GetLabels()[marks.ManagedBy] == marks.Harmony }

// mark labels an Application as harmony's for the app and target.
func (d *deployment) mark(object *unstructured.Unstructured) {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[marks.ManagedBy], labels[marks.App], labels[marks.Target] = marks.Harmony, d.App.Name, d.Target
	object.SetLabels(labels)
}

// adoptable fails for an Application of somebody else that may not be taken over: one
// that another object would write back, or that makes other objects than harmony's
// would.
func (d *deployment) adoptable(a *application) error {
	what := d.argo.String()
	if by := delivery.KeptBy(a.Unstructured); by != "" {
		return delivery.KeptError(what, by)
	}
	// Argo CD marks the objects of an Application so where it does not annotate them.
	if parent := a.GetLabels()["app.kubernetes.io/instance"]; parent != "" && parent != a.GetName() {
		return delivery.KeptError(what, "Application "+parent)
	}
	managers := strings.Join(delivery.Managers(a.Unstructured), ", ")
	if err := d.Adoptable(what, managers, chartOf(a)); err != nil {
		return err
	}
	helm, _, _ := unstructured.NestedString(a.Object, "spec", "source", "helm", "releaseName")
	switch name := cmp.Or(helm, a.GetName()); {
	case len(a.Spec.Sources) > 0:
		return protocol.Unsupported("%s has spec.sources, and harmony's has one source: objects of the others would be left over", what).
			WithHint("make the app's an Application of its own there")
	case !slices.Contains(d.places(), a.Spec.Destination):
		return protocol.Unsupported("%s delivers to another place than target %s: the objects would be made a second time", what, d.Target).
			WithHint("see its spec.destination, and the target's context and namespace")
	case name != d.App.Name:
		return protocol.Unsupported("%s has the release name %s, and harmony's would have %s: the objects would be made a second time", what, name, d.App.Name).
			WithHint("name the app as the release is, or set the release name there")
	}
	d.adopted = managers
	return nil
}

// chartOf is the name of an Application's chart, "" where that is not known.
func chartOf(a *application) string {
	source := a.Spec.Source
	if source.Chart == "" && strings.HasPrefix(source.RepoURL, "oci://") {
		return delivery.ChartOf(source.RepoURL)
	}
	return source.Chart
}

// GiveBack implements [delivery.Adapter]: the Application stays as it is, without
// harmony's marks.
func (a *adapter) GiveBack(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	if !a.settings.manage {
		return protocol.DeployResult{}, protocol.Unsupported("the Application of %s for target %q comes from Git: there is nothing to give back", app.Name, target)
	}
	d, err := a.prepare(app, target, protocol.ImageRef{Metadata: app.Metadata}, protocol.ChartRef{Metadata: app.Metadata})
	if err != nil {
		return protocol.DeployResult{}, err
	}
	bounded, cancel := d.bounded(ctx)
	defer cancel()
	result, err := d.giveBack(bounded)
	return result, delivery.Explain(ctx, d.argo.Conn, "give "+app.Name+" on "+target+" back", d.settings.timeout, err)
}

func (d *deployment) giveBack(ctx context.Context) (protocol.DeployResult, error) {
	found, err := delivery.Retried(ctx, d.argo.patient, d.argo.get)
	if err != nil || !isOurs(found) {
		return d.Absent(Name), err
	}
	if err := d.owned(found); err != nil {
		return protocol.DeployResult{}, err
	}
	given := d.result(protocol.OutcomeGivenBack, releaseOf(found), release{})
	c := d.lock(d.argo.String(), func(ctx context.Context) (protocol.DeployResult, error) {
		if _, err := d.free(ctx); err != nil {
			return protocol.DeployResult{}, err
		}
		return given, d.argo.edit(ctx, func(now *application) (bool, error) {
			unmark(now.Unstructured)
			return true, nil
		})
	})
	c.Plan = func(context.Context) (protocol.DeployResult, error) { return given, nil }
	return c.Run(ctx, ctx)
}

// unmark takes harmony's marks off an object.
func unmark(object *unstructured.Unstructured) {
	ours := func(key, value string) bool {
		return strings.HasPrefix(key, marks.Domain) || key == marks.ManagedBy && value == marks.Harmony
	}
	labels, annotations := maps.Clone(object.GetLabels()), maps.Clone(object.GetAnnotations())
	maps.DeleteFunc(labels, ours)
	maps.DeleteFunc(annotations, ours)
	object.SetLabels(labels)
	object.SetAnnotations(annotations)
}
