package conn

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// fleetKubeconfig has labels on three of its contexts, and one for Argo CD.
const fleetKubeconfig = `apiVersion: v1
kind: Config
current-context: hub
clusters:
- {name: eu, cluster: {server: "https://eu.example.com:6443"}}
- {name: eu-2, cluster: {server: "https://eu-2.example.com:6443"}}
- {name: us, cluster: {server: "https://us.example.com:6443"}}
- {name: hub, cluster: {server: "%s", certificate-authority-data: "%s"}}
users:
- {name: me, user: {token: secret-token}}
contexts:
- {name: hub, context: {cluster: hub, user: me}}
- name: us
  context:
    cluster: us
    user: me
    extensions:
    - {name: harmony.nationtech.io/labels, extension: {region: us, tier: shop}}
- name: eu-2
  context:
    cluster: eu-2
    user: me
    extensions:
    - {name: minikube.sigs.k8s.io/labels, extension: {tier: shop}}
    - {name: harmony.nationtech.io/labels, extension: {region: eu, tier: shop}}
- name: eu-1
  context:
    cluster: eu
    user: me
    extensions: [{name: harmony.nationtech.io/labels, extension: {region: eu, tier: shop}}]
`

// hub plays an API server that holds Argo CD's Secrets of clusters, and says
// what it was asked for.
func hub(t *testing.T, secrets string) (kubeconfig string, asked *string) {
	t.Helper()
	asked = new(string)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.URL.Path + "?" + r.URL.Query().Get("labelSelector")
		if r.Header.Get("Authorization") != "Bearer secret-token" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, strings.Replace(secrets, "{", `{"apiVersion": "v1", "kind": "SecretList", `, 1))
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return write(t, fmt.Sprintf(fleetKubeconfig, server.URL, base64.StdEncoding.EncodeToString(ca))), asked
}

// secretOf is a Secret as the API server lists it.
func secretOf(t *testing.T, name, server, config string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"name": "cluster-" + name},
		"data":     map[string][]byte{"name": []byte(name), "server": []byte(server), "config": []byte(config)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func names(clusters []Cluster) string {
	var all []string
	for _, c := range clusters {
		all = append(all, c.Name)
	}
	return strings.Join(all, " ")
}

func TestClusters(t *testing.T) {
	path, asked := hub(t, `{"items": [`+strings.Join([]string{
		secretOf(t, "shop-2", "https://shop-2.example.com", `{"bearerToken": "other-secret", "tlsClientConfig": {"insecure": false, "caData": "Y2E=", "serverName": "shop"}}`),
		secretOf(t, "shop-1", "https://shop-1.example.com/", `{"execProviderConfig": {"command": "rm"}}`),
		secretOf(t, "argo", "https://kubernetes.default.svc", ``),
	}, ",")+`]}`)
	for _, c := range []struct {
		name  string
		multi protocol.MultiCluster
		flags Flags
		want  string
	}{
		{"named", protocol.MultiCluster{Contexts: []string{"us", "eu-1"}}, Flags{}, "us eu-1"},
		{"by labels", protocol.MultiCluster{Selector: "tier=shop"}, Flags{}, "eu-1 eu-2 us"},
		{"of a set", protocol.MultiCluster{Selector: "region in (us, asia)"}, Flags{}, "us"},
		{"named first", protocol.MultiCluster{Contexts: []string{"us"}, Selector: "tier"}, Flags{}, "us eu-1 eu-2"},
		{"not labelled", protocol.MultiCluster{Selector: "!tier"}, Flags{}, "hub"},
		{"one of them", protocol.MultiCluster{Selector: "tier"}, Flags{Context: "eu-2"}, "eu-2"},
		{"Argo CD's", protocol.MultiCluster{ArgoCD: &protocol.ArgoCDClusters{Selector: "tier=shop", Context: "hub"}}, Flags{}, "argo shop-1 shop-2"},
		{"both", protocol.MultiCluster{Contexts: []string{"us"}, ArgoCD: &protocol.ArgoCDClusters{}}, Flags{}, "us argo shop-1 shop-2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.flags.Kubeconfig, c.multi.Namespace = path, "fleet"
			clusters, err := Clusters(t.Context(), &c.flags, topology(map[string]protocol.Target{"t": {MultiCluster: &c.multi}}), "t")
			if err != nil || names(clusters) != c.want {
				t.Errorf("clusters %s (%v), want %s", names(clusters), err, c.want)
			}
		})
	}
	if want := "/api/v1/namespaces/argocd/secrets?argocd.argoproj.io/secret-type=cluster"; *asked != want {
		t.Errorf("Argo CD was asked for %s, want %s", *asked, want)
	}
}

func TestConnectToClusters(t *testing.T) {
	path, _ := hub(t, `{"items": [`+strings.Join([]string{
		secretOf(t, "shop-2", "https://shop-2.example.com", `{"bearerToken": "other-secret", "tlsClientConfig": {"caData": "Y2E=", "serverName": "shop"}}`),
		secretOf(t, "shop-1", "https://shop-1.example.com/", `{"execProviderConfig": {"command": "rm"}}`),
		secretOf(t, "argo", "https://kubernetes.default.svc", ``),
	}, ",")+`]}`)
	in := topology(map[string]protocol.Target{
		"t": {MultiCluster: &protocol.MultiCluster{Namespace: "fleet", Contexts: []string{"us"}, ArgoCD: &protocol.ArgoCDClusters{}}},
		"s": {InCluster: &protocol.InCluster{Context: "us", Namespace: "one"}},
	})
	clusters, err := Clusters(t.Context(), &Flags{Kubeconfig: path, As: "ci"}, in, "t")
	if err != nil || names(clusters) != "us argo shop-1 shop-2" {
		t.Fatalf("clusters %s, %v", names(clusters), err)
	}
	connect := func(c Cluster) *Conn {
		t.Helper()
		flags, err := c.Flags()
		if err != nil {
			t.Fatal(err)
		}
		if flags.Kubeconfig != path {
			t.Errorf("%s: kubeconfig %q, want the user's", c.Name, flags.Kubeconfig)
		}
		conn, err := Connect(flags, c.Topology(in, "t"), "t")
		if err != nil {
			t.Fatal(err)
		}
		if conn.Namespace != "fleet" || conn.Context != c.Name || conn.Config.Impersonate.UserName != "ci" {
			t.Errorf("%s: context %s, namespace %s, impersonates %q", c.Name, conn.Context, conn.Namespace, conn.Config.Impersonate.UserName)
		}
		return conn
	}
	if us := connect(clusters[0]); us.Config.Host != "https://us.example.com:6443" || us.Config.BearerToken != "secret-token" {
		t.Errorf("us: %s", us.Config.Host)
	}
	if argo := connect(clusters[1]); !strings.HasPrefix(argo.Config.Host, "https://127.0.0.1") || argo.Config.BearerToken != "secret-token" {
		t.Errorf("Argo CD's own cluster is at %s", argo.Config.Host)
	}
	if _, err := clusters[2].Flags(); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "shop-1") {
		t.Errorf("credentials of a program: %v", err)
	}
	shop := connect(clusters[3]).Config
	if shop.Host != "https://shop-2.example.com" || shop.BearerToken != "other-secret" || shop.ServerName != "shop" || string(shop.CAData) != "ca" {
		t.Errorf("shop-2: %s, server name %s", shop.Host, shop.ServerName)
	}
	if in.Targets["t"].MultiCluster == nil {
		t.Error("the topology was changed")
	}
	one, err := Clusters(t.Context(), &Flags{Kubeconfig: path}, in, "s")
	if err != nil || len(one) != 1 || one[0].Name != "" || one[0].Topology(in, "s").Targets["s"] != in.Targets["s"] {
		t.Errorf("of one cluster: %+v, %v", one, err)
	}
}

func TestClustersErrors(t *testing.T) {
	path, _ := hub(t, `{"items": [`+secretOf(t, "us", "https://x", `{`)+`]}`)
	spoilt := write(t, strings.Replace(fmt.Sprintf(fleetKubeconfig, "https://x", ""), "tier: shop}}", "tier: [1]}}", 1))
	doubled := write(t, strings.Replace(fmt.Sprintf(fleetKubeconfig, "https://x", ""), "cluster: eu\n", "cluster: us\n", 1))
	for _, c := range []struct {
		name       string
		kubeconfig string
		multi      protocol.MultiCluster
		flags      Flags
		code       int
		words      []string
	}{
		{"no such context", path, protocol.MultiCluster{Contexts: []string{"eu-3"}}, Flags{}, protocol.ExitInvalid, []string{`no context "eu-3"`, "eu-1"}},
		{"bad selector", path, protocol.MultiCluster{Selector: "a in"}, Flags{}, protocol.ExitInvalid, []string{"selector"}},
		{"bad selector of Argo CD", path, protocol.MultiCluster{ArgoCD: &protocol.ArgoCDClusters{Selector: "a in"}}, Flags{}, protocol.ExitInvalid, []string{"argocd.selector"}},
		{"nothing chosen", path, protocol.MultiCluster{Selector: "tier=moon"}, Flags{}, protocol.ExitUnsupported, []string{"no clusters", LabelsExtension}},
		{"label that is no text", spoilt, protocol.MultiCluster{Selector: "tier"}, Flags{}, protocol.ExitInvalid, []string{`context "us"`, "texts"}},
		{"flag of one cluster", path, protocol.MultiCluster{Selector: "tier"}, Flags{Server: "https://x"}, protocol.ExitInvalid, []string{"--server", "--context"}},
		{"another context", path, protocol.MultiCluster{Contexts: []string{"us"}}, Flags{Context: "hub"}, protocol.ExitInvalid, []string{"--context hub", "us"}},
		{"one cluster twice", doubled, protocol.MultiCluster{Contexts: []string{"us", "eu-1"}}, Flags{}, protocol.ExitInvalid, []string{`"us" and "eu-1"`, "same cluster"}},
		{"one name twice", path, protocol.MultiCluster{Contexts: []string{"us"}, ArgoCD: &protocol.ArgoCDClusters{}}, Flags{}, protocol.ExitInvalid, []string{"two clusters", "us"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.flags.Kubeconfig, c.multi.Namespace = c.kubeconfig, "fleet"
			_, err := Clusters(t.Context(), &c.flags, topology(map[string]protocol.Target{"t": {MultiCluster: &c.multi}}), "t")
			if protocol.ExitCode(err) != c.code {
				t.Fatalf("error %v with exit code %d, want %d", err, protocol.ExitCode(err), c.code)
			}
			told := err.Error() + " / " + protocol.HintOf(err)
			for _, word := range c.words {
				if !strings.Contains(told, word) {
					t.Errorf("%q does not say %q", told, word)
				}
			}
		})
	}
}

// A cluster's own mistake is told when it is worked on: the others go on.
func TestBadSecretIsItsOwnFailure(t *testing.T) {
	path, _ := hub(t, `{"items": [`+secretOf(t, "a", "https://a", `{"bearerToken": 7-secret`)+`,`+secretOf(t, "b", "https://b", `{}`)+`]}`)
	clusters, err := Clusters(t.Context(), &Flags{Kubeconfig: path}, topology(map[string]protocol.Target{
		"t": {MultiCluster: &protocol.MultiCluster{Namespace: "fleet", ArgoCD: &protocol.ArgoCDClusters{}}},
	}), "t")
	if err != nil || !slices.Equal(strings.Fields(names(clusters)), []string{"a", "b"}) {
		t.Fatalf("clusters %s, %v", names(clusters), err)
	}
	if _, err := clusters[0].Flags(); protocol.ExitCode(err) != protocol.ExitInvalid || strings.Contains(err.Error(), "secret") && strings.Contains(err.Error(), "7-") {
		t.Errorf("a: %v", err)
	}
	if _, err := clusters[1].Flags(); err != nil {
		t.Errorf("b: %v", err)
	}
}
