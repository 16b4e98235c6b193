package smoke

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// serviceBase is the URL of the service in the API server's proxy.
func (p *httpProbe) serviceBase(ctx context.Context) (string, error) {
	port := int32(p.check.Port)
	if port == 0 {
		service, err := p.cluster.service(ctx, p.check.Service)
		if err != nil {
			return "", err
		}
		port = service.Spec.Ports[0].Port
	}
	base := fmt.Sprintf("%s/api/v1/namespaces/%s/services/%s:%s:%d/proxy",
		p.cluster.server, p.cluster.Namespace, cmp.Or(p.check.Scheme, "http"), p.check.Service, port)
	if p.path == "" {
		base += "/" // without it the API server redirects
	}
	return base, nil
}

// proxyError recognizes an answer that is the API server's own and not the
// service's: without this, a check that expects a 404 would be satisfied by a
// service that does not exist.
func (p *httpProbe) proxyError(a answer) error {
	var status metav1.Status
	if a.status < 400 || json.Unmarshal(a.body, &status) != nil || status.Kind != "Status" || int(status.Code) != a.status {
		return nil
	}
	service, message := p.check.Service, status.Message
	_, cause, unreachable := strings.Cut(message, "error trying to reach service: ")
	switch {
	case strings.HasPrefix(message, "no endpoints available for service"):
		return fmt.Errorf("%w behind service %s", errNoPod, service)
	case unreachable:
		return fmt.Errorf("service %s: the API server cannot reach its pod: %s", service, cause)
	case a.status == http.StatusNotFound && strings.Contains(message, fmt.Sprintf("services %q not found", service)):
		return fmt.Errorf("no service %s in namespace %s", service, p.cluster.Namespace)
	case strings.Contains(message, "no service port"):
		return fmt.Errorf("service %s has no port %d", service, p.check.Port)
	case status.Reason == metav1.StatusReasonForbidden && strings.Contains(message, `"services/proxy"`),
		status.Reason == metav1.StatusReasonUnauthorized:
		return newBlocked(p.cluster.Explain(&apierrors.StatusError{ErrStatus: status}))
	}
	return nil
}
