package argocd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

const setKind = "ApplicationSet"

// member is a cluster of an ApplicationSet.
type member struct {
	conn.Cluster
	// application is the name of the cluster's Application.
	application string
	wave        int
}

// members are the clusters with their waves.
func members(set string, multi protocol.MultiCluster, clusters []conn.Cluster) []member {
	var all []member
	start := 0
	for wave, end := range multi.Ends(len(clusters)) {
		for _, c := range clusters[start:end] {
			all = append(all, member{Cluster: c, application: set + "-" + slug(c.Name), wave: wave + 1})
		}
		start = end
	}
	return all
}

// setSpec is the spec of the ApplicationSet that has Argo CD bring the release
// to the members, a step for each wave. What Argo CD would take for a template
// in the values is escaped.
func (f *fanout) setSpec(r release) (map[string]any, error) {
	var elements, steps []any
	for _, m := range f.members {
		elements = append(elements, map[string]any{
			"application": m.application, "server": m.Server, "wave": strconv.Itoa(m.wave),
		})
	}
	for wave := 1; wave <= f.members[len(f.members)-1].wave; wave++ {
		steps = append(steps, map[string]any{
			"matchExpressions": []any{map[string]any{"key": marks.Wave, "operator": "In", "values": []any{strconv.Itoa(wave)}}},
			"maxUpdate":        f.multi.AtOnce(),
		})
	}
	options := make([]any, len(f.want.syncOptions))
	for i, option := range f.want.syncOptions {
		options[i] = option
	}
	return plain(map[string]any{
		"goTemplate": true, "goTemplateOptions": []any{"missingkey=error"},
		"generators": []any{map[string]any{"list": map[string]any{"elements": elements}}},
		"strategy":   map[string]any{"type": "RollingSync", "rollingSync": map[string]any{"steps": steps}},
		// The Application of a cluster that is left out goes; what runs there stays.
		"syncPolicy": map[string]any{"preserveResourcesOnDeletion": true},
		"template": map[string]any{
			"metadata": map[string]any{
				"name":        "{{.application}}",
				"labels":      map[string]any{marks.ManagedBy: marks.Harmony, marks.App: f.app.Name, marks.Target: f.target, marks.Wave: "{{.wave}}"},
				"annotations": map[string]any{marks.Image: r.Image, marks.Version: r.Version},
			},
			"spec": map[string]any{
				"project": f.want.project, "source": escape(r.Source),
				"ignoreDifferences": autoscaled(),
				"destination":       map[string]any{"server": "{{.server}}", "namespace": f.multi.Namespace},
				// The controller takes it away, and only looks whether it prunes.
				"syncPolicy": map[string]any{
					"automated": map[string]any{"prune": true}, "syncOptions": options,
					"retry": map[string]any{"limit": 1, "backoff": map[string]any{"duration": "2s", "maxDuration": "2s"}},
				},
			},
		},
	})
}

// escape keeps texts from being taken for templates.
func escape(value any) any {
	switch v := value.(type) {
	case string:
		return strings.ReplaceAll(v, "{{", "{{`{{`}}")
	case []any:
		made := make([]any, len(v))
		for i, member := range v {
			made[i] = escape(member)
		}
		return made
	case map[string]any:
		made := make(map[string]any, len(v))
		for key, member := range v {
			made[key] = escape(member)
		}
		return made
	}
	return value
}

// appSet is an ApplicationSet: the object as it is, and what is read of it.
type appSet struct {
	*unstructured.Unstructured
	setView
}

type setView struct {
	Status struct {
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"conditions"`
	} `json:"status"`
}

func newAppSet(object *unstructured.Unstructured) (*appSet, error) {
	s := &appSet{Unstructured: object}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &s.setView); err != nil {
		return nil, fmt.Errorf("read ApplicationSet %s: %w", object.GetName(), err)
	}
	return s, nil
}

// problem is what keeps the controller from its work, or "".
func (s *appSet) problem() string {
	for _, c := range s.Status.Conditions {
		if c.Type == "ErrorOccurred" && c.Status == "True" {
			return clean(c.Message)
		}
	}
	return ""
}

// wants reports that it has the release and the members already.
func (s *appSet) wants(spec map[string]any) bool {
	now, _, _ := unstructured.NestedMap(s.Object, "spec")
	for field, value := range spec {
		if !equality.Semantic.DeepEqual(now[field], value) {
			return false
		}
	}
	return true
}

// release is what it brings to the members now.
func (s *appSet) release() (release, bool) { return noted(s.Unstructured, marks.Release) }

// previous is what it brought before, and was good.
func (s *appSet) previous() (release, bool) { return noted(s.Unstructured, marks.Previous) }

// isGood reports that all members were seen to run the release at one moment. What
// Argo CD says of one of them later is no reason to forget that.
func (s *appSet) isGood(r release) bool {
	good, ok := noted(s.Unstructured, marks.Good)
	return ok && equality.Semantic.DeepEqual(good.Source, r.Source)
}

// unknownServers are the members whose API server Argo CD has no cluster for.
func unknownServers(all []member, servers []string) []string {
	var unknown []string
	for _, m := range all {
		if m.Server != inCluster && !slices.Contains(servers, m.Server) {
			unknown = append(unknown, fmt.Sprintf("%s (%s)", m.Name, m.Server))
		}
	}
	return unknown
}
