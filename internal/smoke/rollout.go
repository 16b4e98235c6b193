package smoke

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/nationtech/harmony/pkg/protocol"
)

// The label and the annotation by which a workload is known to be of a release:
// the first is a convention of charts, the second is written by Helm itself.
const (
	instanceLabel     = "app.kubernetes.io/instance"
	releaseAnnotation = "meta.helm.sh/release-name"
)

// workloadKinds are the resources that can be rolled out, with the names that
// kubectl takes for them; the first one is ours.
var workloadKinds = []struct {
	resource string
	names    []string
}{
	{"deployments", []string{"deployment", "deployments", "deploy"}},
	{"statefulsets", []string{"statefulset", "statefulsets", "sts"}},
	{"daemonsets", []string{"daemonset", "daemonsets", "ds"}},
}

// rolloutProbe checks the workloads of a release, or one of them.
type rolloutProbe struct {
	app     string
	kind    int // index of workloadKinds, where name is set
	name    string
	cluster *cluster
}

func newRolloutProbe(app string, check protocol.RolloutCheck, cluster *cluster) (probe, error) {
	p := rolloutProbe{app: app, cluster: cluster}
	if check.Workload == "" {
		return p, nil
	}
	kind, name, _ := strings.Cut(check.Workload, "/")
	kind, _, _ = strings.Cut(strings.ToLower(kind), ".")
	p.name = name
	for i, known := range workloadKinds {
		if slices.Contains(known.names, kind) && name != "" && !strings.Contains(name, "/") {
			p.kind = i
			return p, nil
		}
	}
	return nil, fmt.Errorf("rollout.workload: %q is not deployment/NAME, statefulset/NAME or daemonset/NAME", check.Workload)
}

// attempt implements probe.
func (p rolloutProbe) attempt(ctx context.Context) (string, error) {
	found, err := p.find(ctx)
	if err != nil {
		return "", err
	}
	var ready, waiting []string
	for _, w := range found {
		if reason := w.waitsFor(); reason != "" {
			waiting = append(waiting, w.id()+": "+reason)
			continue
		}
		ready = append(ready, fmt.Sprintf("%s %d/%d", w.id(), w.available(), w.desired()))
	}
	if len(waiting) > 0 {
		return "", errors.New(strings.Join(waiting, "; "))
	}
	return strings.Join(ready, ", "), nil
}

// find returns the workloads to check, at least one.
func (p rolloutProbe) find(ctx context.Context) ([]workload, error) {
	if p.name != "" {
		w := workload{kind: workloadKinds[p.kind].names[0]}
		err := p.cluster.get(ctx, "apis/apps/v1", workloadKinds[p.kind].resource+"/"+p.name, nil, &w)
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("no %s/%s in namespace %s", w.kind, p.name, p.cluster.Namespace)
		}
		return []workload{w}, err
	}
	var found []workload
	for _, kind := range workloadKinds {
		var list struct {
			Items []workload `json:"items"`
		}
		if err := p.cluster.get(ctx, "apis/apps/v1", kind.resource, nil, &list); err != nil {
			return nil, err
		}
		for _, w := range list.Items {
			if w.of(p.app) {
				w.kind = kind.names[0]
				found = append(found, w)
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no workload of release %s in namespace %s: none has the label %s or the annotation %s with that value",
			p.app, p.cluster.Namespace, instanceLabel, releaseAnnotation)
	}
	return found, nil
}
