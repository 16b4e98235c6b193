package helm

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nationtech/harmony/internal/cluster/conn"
)

// cluster is a namespace of a cluster with the clients for it. It is what Helm
// calls a RESTClientGetter, and safe for use by several goroutines.
type cluster struct {
	*conn.Conn
	client    kubernetes.Interface
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.ResettableRESTMapper
}

func newCluster(conn *conn.Conn) (*cluster, error) {
	client, err := kubernetes.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", conn.Context, err)
	}
	cached := memory.NewMemCacheClient(client.Discovery())
	return &cluster{
		Conn: conn, client: client, discovery: cached,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached),
	}, nil
}

func (c *cluster) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(c.Config), nil }

func (c *cluster) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return c.discovery, nil
}

func (c *cluster) ToRESTMapper() (meta.RESTMapper, error) { return c.mapper, nil }

func (c *cluster) ToRawKubeConfigLoader() clientcmd.ClientConfig { return c.Loader }

// clusters holds one cluster for each place, so that all apps of a process
// share their connections and discovery.
type clusters struct {
	mu    sync.Mutex
	known map[place]*cluster
}

type place struct{ context, namespace string }

func (c *clusters) get(conn *conn.Conn) (*cluster, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := place{conn.Context, conn.Namespace}
	if found, ok := c.known[at]; ok {
		return found, nil
	}
	made, err := newCluster(conn)
	if err != nil {
		return nil, err
	}
	if c.known == nil {
		c.known = map[place]*cluster{}
	}
	c.known[at] = made
	return made, nil
}
