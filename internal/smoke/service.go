package smoke

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// errNoPod tells an empty service.
var errNoPod = errors.New("no ready pod")

// service is the part of a Service that is looked at.
type service struct {
	Spec struct {
		Ports []servicePort `json:"ports"`
	} `json:"spec"`
}

type servicePort struct {
	Name     string `json:"name"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
}

// service reads a Service, which has a port at least.
func (c *cluster) service(ctx context.Context, name string) (service, error) {
	var s service
	err := c.get(ctx, "api/v1", "services/"+name, nil, &s)
	switch {
	case apierrors.IsNotFound(err):
		return s, fmt.Errorf("no service %s in namespace %s", name, c.Namespace)
	case err == nil && len(s.Spec.Ports) == 0:
		return s, fmt.Errorf("service %s has no port", name)
	}
	return s, err
}

// port is the service's port of that number; the first one for zero.
func (s service) port(name string, number int) (servicePort, error) {
	if number == 0 {
		return s.Spec.Ports[0], nil
	}
	i := slices.IndexFunc(s.Spec.Ports, func(p servicePort) bool {
		return p.Port == number && (p.Protocol == "" || p.Protocol == "TCP")
	})
	if i < 0 {
		return servicePort{}, fmt.Errorf("service %s has no TCP port %d", name, number)
	}
	return s.Spec.Ports[i], nil
}

// endpointSlices is the part of a list of EndpointSlices that is looked at.
type endpointSlices struct {
	Items []struct {
		Ports []struct {
			Name string `json:"name"`
			Port int    `json:"port"`
		} `json:"ports"`
		Endpoints []endpoint `json:"endpoints"`
	} `json:"items"`
}

type endpoint struct {
	Conditions struct {
		Ready *bool `json:"ready"`
	} `json:"conditions"`
	TargetRef struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"targetRef"`
}

// podPort is a port of a pod.
type podPort struct {
	pod  string
	port int
}

func (p podPort) String() string { return fmt.Sprintf("pod %s, port %d", p.pod, p.port) }

// readyPods are the pods behind a port of a service, in order.
func (c *cluster) readyPods(ctx context.Context, name string, port servicePort) ([]podPort, error) {
	var slicesOf endpointSlices
	query := url.Values{"labelSelector": {"kubernetes.io/service-name=" + name}}
	if err := c.get(ctx, "apis/discovery.k8s.io/v1", "endpointslices", query, &slicesOf); err != nil {
		return nil, err
	}
	pods := slicesOf.ready(port.Name)
	if len(pods) == 0 {
		return nil, fmt.Errorf("%w behind service %s", errNoPod, name)
	}
	return pods, nil
}

func (s endpointSlices) ready(portName string) []podPort {
	var pods []podPort
	for _, item := range s.Items {
		for _, port := range item.Ports {
			if port.Name != portName {
				continue
			}
			for _, e := range item.Endpoints {
				// An absent condition means unknown, which counts as ready.
				if e.TargetRef.Kind == "Pod" && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
					pods = append(pods, podPort{e.TargetRef.Name, port.Port})
				}
			}
		}
	}
	slices.SortFunc(pods, func(a, b podPort) int { return strings.Compare(a.pod, b.pod) })
	return slices.Compact(pods)
}
