package conn

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/nationtech/harmony/pkg/protocol"
)

// argoInCluster is how Argo CD names the cluster that it runs in.
const argoInCluster = "https://kubernetes.default.svc"

// clusterSecret is a Secret by which Argo CD knows a cluster. A typed client of
// Kubernetes would double the start time of harmony-smoke.
type clusterSecret struct {
	metav1.ObjectMeta `json:"metadata"`
	Data              struct {
		Name   []byte `json:"name"`
		Server []byte `json:"server"`
		Config []byte `json:"config"`
	} `json:"data"`
}

// fromArgoCD adds the clusters of Argo CD that the selector chooses, by name.
func (m *maker) fromArgoCD(ctx context.Context, f *Flags, from protocol.ArgoCDClusters) error {
	if _, err := parseSelector("argocd.selector", from.Selector); err != nil {
		return err
	}
	// What the user said about the target's clusters is not about Argo CD's.
	flags := Flags{Kubeconfig: f.Kubeconfig, Timeout: f.Timeout, loaded: f.loaded}
	hub, err := flags.connect(from.Context, cmp.Or(from.Namespace, "argocd"))
	if err != nil {
		return fmt.Errorf("argocd: %w", err)
	}
	secrets, err := hub.clusterSecrets(ctx, from.Selector)
	if err != nil {
		return fmt.Errorf("read the clusters of Argo CD in namespace %s: %w", hub.Namespace, hub.Explain(err))
	}
	var own clientcmdapi.Config
	if own, err = hub.Loader.RawConfig(); err != nil {
		return err
	}
	for _, secret := range secrets {
		if err := m.addSecret(secret, hub, own); err != nil {
			return fmt.Errorf("cluster Secret %s of Argo CD: %w", secret.Name, err)
		}
	}
	return nil
}

// addSecret adds the cluster of a Secret. That of Argo CD itself is reached as
// Argo CD is.
func (m *maker) addSecret(secret clusterSecret, hub *Conn, own clientcmdapi.Config) error {
	name, server := string(secret.Data.Name), string(secret.Data.Server)
	if name = cmp.Or(name, server); name == "" {
		return protocol.Invalid("it has neither name nor server")
	}
	if context := own.Contexts[hub.Context]; strings.TrimSuffix(server, "/") == argoInCluster && context != nil && own.Clusters[context.Cluster] != nil {
		err := m.add(name, *own.Clusters[context.Cluster], own.AuthInfos[context.AuthInfo], nil)
		if err == nil {
			m.clusters[len(m.clusters)-1].Server = argoInCluster
		}
		return err
	}
	cluster, user, refused := argoCredentials(name, server, secret.Data.Config)
	return m.add(name, cluster, user, refused)
}

type argoConfig struct {
	Username    string `json:"username"`
	Password    string `json:"password"`
	BearerToken string `json:"bearerToken"`
	TLS         struct {
		Insecure   bool   `json:"insecure"`
		ServerName string `json:"serverName"`
		CA         []byte `json:"caData"`
		Cert       []byte `json:"certData"`
		Key        []byte `json:"keyData"`
	} `json:"tlsClientConfig"`
	AWS      json.RawMessage `json:"awsAuthConfig"`
	Exec     json.RawMessage `json:"execProviderConfig"`
	ProxyURL string          `json:"proxyUrl"`
}

// argoCredentials are those of a Secret as a kubeconfig has them. Those that a
// program makes are refused: a Secret of a cluster must not say what runs on the
// user's machine.
func argoCredentials(name, server string, text []byte) (clientcmdapi.Cluster, *clientcmdapi.AuthInfo, error) {
	cluster, user := clientcmdapi.Cluster{Server: server}, clientcmdapi.NewAuthInfo()
	var config argoConfig
	if len(text) > 0 {
		if err := json.Unmarshal(text, &config); err != nil {
			// The error of the decoder could quote a secret.
			return cluster, user, protocol.Invalid("cluster %q of Argo CD: its Secret's config is not JSON as Argo CD has it", name)
		}
	}
	if len(config.Exec) > 0 || len(config.AWS) > 0 {
		return cluster, user, protocol.Unsupported("cluster %q of Argo CD has credentials that only Argo CD can use (execProviderConfig, awsAuthConfig)", name).
			WithHint("name the cluster by a context of the kubeconfig, or let Argo CD do the work: the setting applicationSet of adapter argocd")
	}
	cluster.InsecureSkipTLSVerify, cluster.TLSServerName, cluster.ProxyURL = config.TLS.Insecure, config.TLS.ServerName, config.ProxyURL
	cluster.CertificateAuthorityData = config.TLS.CA
	user.ClientCertificateData, user.ClientKeyData = config.TLS.Cert, config.TLS.Key
	user.Token, user.Username, user.Password = config.BearerToken, config.Username, config.Password
	return cluster, user, nil
}

// clusterSecrets reads the Secrets that a selector chooses, by the names of their
// clusters.
func (c *Conn) clusterSecrets(ctx context.Context, selector string) ([]clusterSecret, error) {
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	selector = strings.TrimSuffix("argocd.argoproj.io/secret-type=cluster,"+selector, ",")
	list, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(c.Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	secrets := make([]clusterSecret, len(list.Items))
	for i, item := range list.Items {
		text, err := item.MarshalJSON()
		if err == nil {
			err = json.Unmarshal(text, &secrets[i])
		}
		if err != nil {
			return nil, fmt.Errorf("secret %s is not one of Argo CD's", item.GetName()) // without its content
		}
	}
	slices.SortFunc(secrets, func(a, b clusterSecret) int {
		return cmp.Or(bytes.Compare(a.Data.Name, b.Data.Name), cmp.Compare(a.Name, b.Name))
	})
	return secrets, nil
}
