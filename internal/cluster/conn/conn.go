// Package conn is the one way to a cluster, for every stage that talks to
// one: from a target of the topology, the kubeconfig and kubectl's flags to a
// client configuration, and from a client's error to one that says which
// server it was and whether to try again.
package conn

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Conn is a way to a namespace of a cluster.
type Conn struct {
	// Context is the kubeconfig's context in force; empty inside a pod.
	Context   string
	Namespace string
	// Config is for client-go; a user changes a copy only.
	Config *rest.Config
	// Loader is what Config was made from, for libraries that want it.
	Loader clientcmd.ClientConfig
}

// TargetOf is the target of that name, before any flag. One that the topology
// does not have, or that is not one namespace of one cluster, is an error of
// status protocol.ExitUnsupported.
func TargetOf(topology protocol.Topology, name string) (protocol.InCluster, error) {
	target, ok := topology.Targets[name]
	switch {
	case !ok:
		return protocol.InCluster{}, protocol.Unsupported("topology %q has no target %q", topology.Name, name).
			WithHint("%s", known(name, topology.Targets))
	case target.InCluster != nil && target.InCluster.IsPreview():
		return protocol.InCluster{}, protocol.Unsupported("target %q is for previews: its namespace, %s, is known for an app only", name, target.InCluster.Namespace)
	case target.InCluster != nil:
		return *target.InCluster, nil
	case target.MultiCluster != nil:
		return protocol.InCluster{}, protocol.Unsupported("target %q is multiCluster, and this is done on one cluster at a time", name).
			WithHint("name an inCluster target")
	}
	return protocol.InCluster{}, protocol.Unsupported("target %q is an edgeDevice, which harmony does not reach: it pulls what it is to run", name)
}

// Connect opens the way to a target. It reads files only and sends nothing.
// flags may be nil. A kubeconfig that is missing or lacks the context is an
// error of status protocol.ExitInvalid.
func Connect(flags *Flags, topology protocol.Topology, target string) (*Conn, error) {
	t, err := TargetOf(topology, target)
	if err != nil {
		return nil, err
	}
	if flags == nil {
		flags = &Flags{}
	}
	conn, err := flags.connect(t.Context, t.Namespace)
	if err != nil {
		return nil, fmt.Errorf("target %q: %w", target, err)
	}
	return conn, nil
}

func (f *Flags) connect(context, namespace string) (*Conn, error) {
	loader := f.loader(context, namespace)
	raw, err := f.raw(loader)
	if err != nil {
		return nil, err
	}
	context = cmp.Or(f.Context, context, raw.CurrentContext)
	if err := f.checkContext(context, raw); err != nil {
		return nil, err
	}
	config, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) || errors.Is(err, rest.ErrNotInCluster) {
		return nil, protocol.Invalid("no Kubernetes cluster is configured (looked at %s)", f.searched()).
			WithHint("set KUBECONFIG, or pass --kubeconfig")
	}
	if err != nil {
		return nil, protocol.Invalid("context %q of the kubeconfig: %w", context, err)
	}
	if namespace, _, err = loader.Namespace(); err != nil {
		return nil, protocol.Invalid("context %q of the kubeconfig: %w", context, err)
	}
	// Harmony is one short client: the server's own priority and fairness is
	// the better limit.
	config.QPS, config.Burst = -1, -1
	config.UserAgent = "harmony " + rest.DefaultKubernetesUserAgent()
	config.WarningHandlerWithContext = rest.NoWarnings{}
	return &Conn{Context: context, Namespace: namespace, Config: config, Loader: loader}, nil
}

// checkContext rejects a context that does not exist, or that names a cluster which
// is not there: client-go would say that nothing is configured at all.
func (f *Flags) checkContext(name string, raw clientcmdapi.Config) error {
	found, ok := raw.Contexts[name]
	switch {
	case name == "":
		return nil
	case !ok && len(raw.Contexts) == 0:
		return protocol.Invalid("there is no context %q: the kubeconfig is missing or empty (looked at %s)", name, f.searched()).
			WithHint("set KUBECONFIG, or pass --kubeconfig")
	case !ok:
		return protocol.Invalid("the kubeconfig has no context %q (looked at %s)", name, f.searched()).
			WithHint("%s", known(name, raw.Contexts))
	}
	cluster := cmp.Or(f.Cluster, found.Cluster)
	if _, ok := raw.Clusters[cluster]; !ok {
		return protocol.Invalid("context %q of the kubeconfig names a cluster %q that is not in it", name, cluster).
			WithHint("%s", known(cluster, raw.Clusters))
	}
	return nil
}

// searched is where a kubeconfig was looked for.
func (f *Flags) searched() string {
	if f.Kubeconfig != "" {
		return f.Kubeconfig
	}
	if path := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); path != "" {
		return "KUBECONFIG=" + path
	}
	return clientcmd.RecommendedHomeFile
}

// known lists the names that exist, and suggests the nearest.
func known[V any](name string, all map[string]V) string {
	names := slices.Sorted(maps.Keys(all))
	if len(names) == 0 {
		return "it has no entries"
	}
	there := "it has: " + strings.Join(names, ", ")
	if near := nearest.Name(name, names); near != "" {
		return fmt.Sprintf("did you mean %q? %s", near, there)
	}
	return there
}

// Flags are the connection flags of kubectl. The zero value takes everything
// from the kubeconfig; what is set wins over the kubeconfig and over the
// target. There is no flag for a token or a password: what is on a command
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
		CurrentContext: cmp.Or(f.Context, context),
		Timeout:        f.Timeout,
		Context:        clientcmdapi.Context{Cluster: f.Cluster, AuthInfo: f.User, Namespace: cmp.Or(f.Namespace, namespace)},
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

// Explain adds the server to an error of the API, and the exit status: a
// server that cannot be reached or is busy is protocol.ExitRetryable. A
// cancelled context and an error that is explained already stay what they are.
func (c *Conn) Explain(err error) error {
	var explained *protocol.Error
	switch {
	case err == nil || errors.As(err, &explained) || errors.Is(err, context.Canceled):
		return err
	case apierrors.IsUnauthorized(err):
		return &protocol.Error{
			Code: protocol.ExitFailed, Err: fmt.Errorf("%s does not accept the credentials%s: %w", c.Config.Host, c.of(), err),
			Hint: "log in again, or choose another context with --context",
		}
	case passing(err):
		return protocol.Retryable("API server %s cannot be reached: %w", c.Config.Host, cause(err)).
			WithHint("is the cluster running, and the context right%s?", c.of())
	case busy(err):
		return protocol.Retryable("API server %s: %w", c.Config.Host, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: %w", c.Config.Host, err)
	}
	return err
}

func (c *Conn) of() string {
	if c.Context == "" {
		return ""
	}
	return fmt.Sprintf(" of context %q", c.Context)
}

// Terminating reports that the namespace is being deleted, after which a request
// can succeed, but not soon.
func Terminating(err error) bool {
	return apierrors.HasStatusCause(err, namespaceTerminating) || errors.Is(err, ErrTerminating)
}

// ErrTerminating is what a namespace is that is being deleted.
var ErrTerminating = errors.New("is being deleted")

// namespaceTerminating is the cause that the API server gives for refusing an
// object in a namespace that is being deleted.
const namespaceTerminating metav1.CauseType = "NamespaceTerminating"

// busy reports an error that a later request may not get.
func busy(err error) bool {
	return apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsInternalError(err) && !broken(err) ||
		apierrors.HasStatusCause(err, namespaceTerminating)
}

// broken reports an admission webhook that fails for another reason than that its
// server is away: whoever repeats the request gets the same answer.
func broken(err error) bool {
	text := err.Error()
	return strings.Contains(text, "failed calling webhook") && !slices.ContainsFunc(
		[]string{"connection refused", "connection reset", "no endpoints available", "imeout", "deadline exceeded", "EOF", "no route to host"},
		func(away string) bool { return strings.Contains(text, away) })
}

// passing reports that there was no answer at all. A certificate that does not
// hold is not passing.
func passing(err error) bool {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		network  net.Error
		dns      *net.DNSError
	)
	if errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &invalid) {
		return false
	}
	return errors.As(err, &dns) || errors.As(err, &network) && network.Timeout() ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) ||
		utilnet.IsHTTP2ConnectionLost(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// cause leaves out the request's method and URL, which say nothing more.
func cause(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}
