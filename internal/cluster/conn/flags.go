package conn

import (
	"errors"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Flags are the connection flags of kubectl. The zero value takes everything
// from the kubeconfig; what is set wins over the kubeconfig and over the
// target. There is none for a token or a password: what stands on a command
// line can be read by everybody on the machine.
type Flags struct {
	// Kubeconfig is a file; KUBECONFIG or ~/.kube/config when empty.
	Kubeconfig string
	// Context, Cluster and User name entries of the kubeconfig.
	Context, Cluster, User string
	// Namespace is taken instead of the target's.
	Namespace string
	// Server is the API server's URL, and ServerName the name that its
	// certificate is checked for.
	Server, ServerName string
	// CAFile, CertFile and KeyFile are PEM files.
	CAFile, CertFile, KeyFile string
	// Insecure accepts any certificate.
	Insecure bool
	// As, AsUID and AsGroups name whom to impersonate.
	As, AsUID string
	AsGroups  []string
	// Timeout bounds one request to the API server, as kubectl writes it: 30s,
	// or a number of seconds; no bound when empty or 0.
	Timeout string

	// loaded is taken in the place of files, where a cluster's part of them was
	// read before.
	loaded *clientcmdapi.Config
}

// Bind adds the most used of the flags to a flag set. A binary that carries
// cli-runtime binds all of them with package kubeflags.
func (f *Flags) Bind(set *pflag.FlagSet) {
	set.StringVar(&f.Kubeconfig, "kubeconfig", f.Kubeconfig, "path of the kubeconfig file")
	set.StringVar(&f.Context, "context", f.Context, "context of the kubeconfig, instead of the target's")
	set.StringVarP(&f.Namespace, "namespace", "n", f.Namespace, "namespace, instead of the target's")
	set.StringVar(&f.As, "as", f.As, "user to impersonate")
	set.StringArrayVar(&f.AsGroups, "as-group", f.AsGroups, "group to impersonate; can be repeated")
	set.StringVar(&f.Timeout, "request-timeout", f.Timeout, "bound of one request to the API server, such as 30s")
}

// loader reads the kubeconfig, with the flags over a target's context and
// namespace.
func (f *Flags) loader(context, namespace string) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.Kubeconfig
	// Without kubectl's default of http://localhost:8080: no cluster is an error.
	overrides := &clientcmd.ConfigOverrides{
		CurrentContext: first(f.Context, context),
		Timeout:        f.Timeout,
		Context:        clientcmdapi.Context{Cluster: f.Cluster, AuthInfo: f.User, Namespace: first(f.Namespace, namespace)},
		ClusterInfo: clientcmdapi.Cluster{
			Server: f.Server, TLSServerName: f.ServerName,
			CertificateAuthority: f.CAFile, InsecureSkipTLSVerify: f.Insecure,
		},
		AuthInfo: clientcmdapi.AuthInfo{
			ClientCertificate: f.CertFile, ClientKey: f.KeyFile,
			Impersonate: f.As, ImpersonateUID: f.AsUID, ImpersonateGroups: f.AsGroups,
		},
	}
	if f.loaded != nil {
		return clientcmd.NewDefaultClientConfig(*f.loaded, overrides)
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
}

// raw is the kubeconfig, of all its files.
func (f *Flags) raw(loader clientcmd.ClientConfig) (clientcmdapi.Config, error) {
	raw, err := loader.RawConfig()
	if errors.Is(err, os.ErrNotExist) {
		return raw, protocol.Invalid("kubeconfig %s does not exist", f.Kubeconfig)
	}
	if err != nil {
		return raw, protocol.Invalid("read the kubeconfig: %w", err)
	}
	return raw, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
