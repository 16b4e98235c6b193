package fan

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/smoke"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// token is that of the administrator of every such server.
const token = "token-of-a-test"

// apiServers starts API servers of their own, with an etcd that they share and
// without nodes and controllers: objects stay what they are written as, and no
// pod ever runs. They end with the test. The programs are those of the kit.
func apiServers(t testing.TB, names ...string) []clustertest.Cluster {
	t.Helper()
	kit := clustertest.NewKit(t)
	if _, err := os.Stat(filepath.Join(kit.Programs, "kube-apiserver")); err != nil {
		t.Skipf("needs the test cluster of the kit: %v", err)
	}
	etcd := startEtcd(kit)
	kit.Write("tokens.csv", []byte(token+",admin,admin,system:masters\n"))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	kit.Write("service-accounts.key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	var clusters []clustertest.Cluster
	for _, name := range names {
		clusters = append(clusters, startServer(kit, name, etcd))
	}
	for i, c := range clusters {
		kit.Await(names[i], func(ctx context.Context) error {
			return c.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		})
	}
	return clusters
}

func startEtcd(k clustertest.Kit) (url string) {
	k.Helper()
	url, peer := "http://127.0.0.1:"+k.Port(), "http://127.0.0.1:"+k.Port()
	k.Start("etcd", "etcd", nil, "--data-dir="+filepath.Join(k.Dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+url, "--advertise-client-urls="+url,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	k.Await("etcd", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	return url
}

func startServer(k clustertest.Kit, name, etcd string) clustertest.Cluster {
	k.Helper()
	port, certificates := k.Port(), filepath.Join(k.Dir, name)
	key := filepath.Join(k.Dir, "service-accounts.key")
	k.Start("kube-apiserver "+name, "kube-apiserver", nil,
		"--etcd-servers="+etcd, "--etcd-prefix=/"+name, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+port,
		"--cert-dir="+certificates, "--token-auth-file="+filepath.Join(k.Dir, "tokens.csv"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=198.19.250.0/24",
		"--profiling=false")
	// It signs a certificate for itself, which its file holds with the authority's.
	authority := filepath.Join(certificates, "apiserver.crt")
	k.Await(name, func(context.Context) error {
		_, err := os.Stat(authority)
		return err
	})
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:" + port, CertificateAuthority: authority}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	c := clustertest.Cluster{Kubeconfig: filepath.Join(k.Dir, name+".kubeconfig")}
	if err := clientcmd.WriteToFile(*config, c.Kubeconfig); err != nil {
		k.Fatal(err)
	}
	var err error
	if c.Rest, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig); err != nil {
		k.Fatal(err)
	}
	c.Rest.QPS, c.Rest.Burst = -1, -1
	if c.Client, err = kubernetes.NewForConfig(c.Rest); err != nil {
		k.Fatal(err)
	}
	return c
}

// join writes a kubeconfig with a context for each cluster, under its name and
// with its labels, a JSON object, as harmony reads them.
func join(t testing.TB, clusters map[string]clustertest.Cluster, labels map[string]string) string {
	t.Helper()
	joined := clientcmdapi.NewConfig()
	for name, c := range clusters {
		raw, err := clientcmd.LoadFromFile(c.Kubeconfig)
		if err != nil {
			t.Fatal(err)
		}
		if err := clientcmd.ResolveLocalPaths(raw); err != nil {
			t.Fatal(err)
		}
		context := raw.Contexts[raw.CurrentContext]
		joined.Clusters[name], joined.AuthInfos[name] = raw.Clusters[context.Cluster], raw.AuthInfos[context.AuthInfo]
		joined.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
		if text := labels[name]; text != "" {
			joined.Contexts[name].Extensions = extension(text)
		}
	}
	path := filepath.Join(t.TempDir(), "joined")
	if err := clientcmd.WriteToFile(*joined, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func extension(labels string) map[string]runtime.Object {
	return map[string]runtime.Object{conn.LabelsExtension: &runtime.Unknown{Raw: []byte(labels), ContentType: runtime.ContentTypeJSON}}
}

// realChecks are the suite's own.
func realChecks(flags *conn.Flags) capability.Adapter[capability.Checker] {
	return smoke.New(flags, func(kind string) (string, error) { return "", protocol.Unsupported("no check of kind %s", kind) })
}
