package smoke

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// errNoPod is the error of a service without pods.
var errNoPod = errors.New("no ready pod")

// service reads a Service, which has at least one port.
func (c *cluster) service(ctx context.Context, name string) (s corev1.Service, err error) {
	err = c.get(ctx, "api/v1", "services/"+name, nil, &s)
	switch {
	case apierrors.IsNotFound(err):
		return s, fmt.Errorf("no service %s in namespace %s", name, c.Namespace)
	case err == nil && len(s.Spec.Ports) == 0:
		return s, fmt.Errorf("service %s has no port", name)
	}
	return s, err
}

// portOf is the service's port of that number; the first one for zero.
func portOf(s corev1.Service, number int) (corev1.ServicePort, error) {
	i := slices.IndexFunc(s.Spec.Ports, func(p corev1.ServicePort) bool {
		return number == 0 || int(p.Port) == number && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP)
	})
	if i < 0 {
		return corev1.ServicePort{}, fmt.Errorf("service %s has no TCP port %d", s.Name, number)
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
		Endpoints []struct {
			Conditions struct {
				Ready *bool `json:"ready"`
			} `json:"conditions"`
			TargetRef corev1.ObjectReference `json:"targetRef"`
		} `json:"endpoints"`
	} `json:"items"`
}

// podPort is a port of a pod.
type podPort struct {
	pod  string
	port int
}

func (p podPort) String() string { return fmt.Sprintf("pod %s, port %d", p.pod, p.port) }

// readyPods are the pods behind a port of a service, in order.
func (c *cluster) readyPods(ctx context.Context, name string, port corev1.ServicePort) ([]podPort, error) {
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
