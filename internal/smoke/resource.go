package smoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/nationtech/harmony/pkg/protocol"
)

// resourceProbe looks at objects of any kind.
type resourceProbe struct {
	check   protocol.ResourceCheck
	cluster *cluster
	paths   []jsonPath
	// condition must have status, where it is set.
	condition, status string
}

func newResourceProbe(check protocol.ResourceCheck, cluster *cluster) (probe, error) {
	p := resourceProbe{check: check, cluster: cluster.in(check.Namespace)}
	for i, want := range check.JSON {
		path, err := newJSONPath(want)
		if err != nil {
			return nil, fmt.Errorf("resource.json[%d].path: %w", i, err)
		}
		p.paths = append(p.paths, path)
	}
	var found bool
	if p.condition, p.status, found = strings.Cut(check.Condition, "="); !found {
		p.status = string(metav1.ConditionTrue)
	}
	return p, nil
}

func (p resourceProbe) attempt(ctx context.Context) (string, error) {
	objects, err := p.objects(ctx)
	if err != nil {
		return "", err
	}
	holds, wrong := 0, error(nil)
	for _, object := range objects {
		if err := p.match(object); err != nil {
			wrong = fmt.Errorf("%s: %w", p.id(object), err)
			continue
		}
		holds++
	}
	switch {
	case p.check.AtLeast > 0 && holds < p.check.AtLeast:
		return "", errors.Join(fmt.Errorf("%d of %s are as expected, not %d", holds, p, p.check.AtLeast), wrong)
	case p.check.AtLeast == 0 && wrong != nil:
		return "", wrong
	case len(objects) == 0:
		return "", fmt.Errorf("no %s", p)
	}
	return fmt.Sprintf("%d of %d: %s", holds, len(objects), p), nil
}

// String names what is looked for.
func (p resourceProbe) String() string {
	kind := strings.ToLower(p.check.Kind)
	if p.check.Name != "" {
		return fmt.Sprintf("%s/%s in namespace %s", kind, p.check.Name, p.cluster.Namespace)
	}
	return fmt.Sprintf("%s with %s in namespace %s", kind, labels.Set(p.check.Selector), p.cluster.Namespace)
}

func (p resourceProbe) id(object any) string {
	fields, _ := object.(map[string]any)
	metadata, _ := fields["metadata"].(map[string]any)
	return fmt.Sprintf("%s/%v", strings.ToLower(p.check.Kind), metadata["name"])
}

// match is nil when the object is as expected.
func (p resourceProbe) match(object any) error {
	if p.condition != "" {
		if err := p.matchCondition(object); err != nil {
			return err
		}
	}
	for _, path := range p.paths {
		if err := path.match(object); err != nil {
			return err
		}
	}
	return nil
}

func (p resourceProbe) matchCondition(object any) error {
	fields, _ := object.(map[string]any)
	status, _ := fields["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		switch {
		case condition["type"] != p.condition:
		case condition["status"] == p.status:
			return nil
		default:
			return fmt.Errorf("condition %s is %v, expected %s: %v", p.condition, condition["status"], p.status, condition["message"])
		}
	}
	return fmt.Errorf("no condition %s, expected %s", p.condition, p.status)
}

// objects reads what the check is about.
func (p resourceProbe) objects(ctx context.Context) ([]any, error) {
	at, err := p.cluster.address(ctx, p.check.APIVersion, p.check.Kind)
	if err != nil {
		return nil, err
	}
	if p.check.Name != "" {
		body, err := p.cluster.read(ctx, at+"/"+p.check.Name, nil)
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("no %s", p)
		}
		if err != nil {
			return nil, err
		}
		object, err := parseJSON(body)
		return []any{object}, err
	}
	body, err := p.cluster.read(ctx, at, url.Values{"labelSelector": {labels.Set(p.check.Selector).String()}})
	if err != nil {
		return nil, err
	}
	list, err := parseJSON(body)
	if err != nil {
		return nil, err
	}
	fields, _ := list.(map[string]any)
	items, _ := fields["items"].([]any)
	return items, nil
}

// address is the path of the API server where objects of the kind are. Which one that is,
// the API server says.
func (c *cluster) address(ctx context.Context, apiVersion, kind string) (string, error) {
	group := "apis/" + apiVersion
	if !strings.Contains(apiVersion, "/") {
		group = "api/" + apiVersion
	}
	body, err := c.read(ctx, group, nil)
	if apierrors.IsNotFound(err) {
		return "", fmt.Errorf("the cluster does not have the API %s", apiVersion)
	}
	if err != nil {
		return "", err
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return "", fmt.Errorf("read the kinds of %s: %w", apiVersion, err)
	}
	for _, r := range list.APIResources {
		switch {
		case r.Kind != kind || strings.Contains(r.Name, "/"):
		case r.Namespaced:
			return fmt.Sprintf("%s/namespaces/%s/%s", group, c.Namespace, r.Name), nil
		default:
			return group + "/" + r.Name, nil
		}
	}
	return "", fmt.Errorf("the cluster does not have the kind %s in %s", kind, apiVersion)
}
