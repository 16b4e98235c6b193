package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubectl/pkg/validation"

	"github.com/nationtech/harmony/internal/deploy/delivery"
)

// newConfiguration is Helm's way to the cluster, for one deployment. The API
// server's warnings, such as one about a field that it does not know, go to
// warn.
func newConfiguration(c *delivery.Cluster, warn func(string)) (*action.Configuration, error) {
	config := &action.Configuration{}
	if err := config.Init(getter{c, warn}, c.Namespace, "secret", func(string, ...any) {}); err != nil {
		return nil, fmt.Errorf("context %q: %w", c.Context, err)
	}
	if client, ok := config.KubeClient.(*kube.Client); ok {
		client.Factory = factory{client.Factory}
	}
	return config, nil
}

// getter is a cluster as Helm's RESTClientGetter.
type getter struct {
	*delivery.Cluster
	warn warnings
}

func (g getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.Discovery, nil
}

func (g getter) ToRESTMapper() (meta.RESTMapper, error) { return g.Mapper, nil }

func (g getter) ToRawKubeConfigLoader() clientcmd.ClientConfig { return g.Loader }

// ToRESTConfig is the configuration of a client whose warnings are passed on.
func (g getter) ToRESTConfig() (*rest.Config, error) {
	config := rest.CopyConfig(g.Config)
	config.WarningHandlerWithContext = g.warn
	return config, nil
}

type warnings func(string)

// warningCode is that of HTTP for a miscellaneous warning that persists, the
// only one that API servers use.
const warningCode = 299

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w warnings) HandleWarningHeaderWithContext(_ context.Context, code int, _, text string) {
	if code == warningCode && text != "" {
		w(text)
	}
}

// factory leaves out a step of Helm: it loads and parses the OpenAPI schema of
// every group in use, 150 ms of work, only to learn whether the server can
// validate fields. Every server since Kubernetes 1.27 can, and warns.
type factory struct{ kube.Factory }

func (factory) Validator(string) (validation.Schema, error) { return validation.NullSchema{}, nil }
