package prune

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// packed is a release as Helm's storage writes it.
func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(b.Bytes()))
}

func TestCollect(t *testing.T) {
	cluster := clustertest.Config(t)
	namespace := cluster.Namespace(t)
	used, tagged := digest(0xabc123), "9.9.9-dev.7.gabcdefabcdef"
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "sh.helm.release.v1.fleet.v1"}, Type: "helm.sh/release.v1",
		Data: map[string][]byte{"release": packed(t, `{"manifest":"image: r.example.com/fleet/operator@`+used+` r.example.com/fleet/agent:`+tagged+`"}`)},
	}
	if _, err := cluster.Client.CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	topology := protocol.Topology{Targets: map[string]protocol.Target{"t": {InCluster: &protocol.InCluster{Namespace: namespace}}}}
	conn, err := conn.Connect(&conn.Flags{Kubeconfig: cluster.Kubeconfig}, topology, "t")
	if err != nil {
		t.Fatal(err)
	}
	uses := NewUses()
	if err := uses.Collect(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	want := "Helm release " + namespace + "/sh.helm.release.v1.fleet.v1"
	for _, e := range []Entry{
		{Repository: "r.example.com/fleet/operator", Tag: "x", Digest: used},
		{Repository: "r.example.com/fleet/agent", Tag: tagged, Digest: digest(1)},
	} {
		if by := uses.by(e); !strings.HasPrefix(by, want) {
			t.Errorf("%s:%s is used by %q, want %q", e.Repository, e.Tag, by, want)
		}
	}
	if by := uses.by(Entry{Repository: "r.example.com/fleet/agent", Tag: "9.9.9-dev.7.gabcdef", Digest: digest(2)}); by != "" {
		t.Errorf("the beginning of a tag counts as the tag: used by %s", by)
	}
}

// What Argo CD and Flux are told to deliver is in use, before anything of it
// runs. The controllers leave these objects alone: they are suspended, or in a
// namespace of which Argo CD takes none.
func TestCollectDelivery(t *testing.T) {
	cluster := clustertest.Config(t)
	namespace := cluster.Namespace(t)
	client, err := dynamic.NewForConfig(cluster.Rest)
	if err != nil {
		t.Fatal(err)
	}
	used := digest(0xdef456)
	objects := map[string]struct {
		resource schema.GroupVersionResource
		object   string
		entry    Entry
	}{
		"Argo CD Application": {
			schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"},
			`{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","spec":{"project":"default","destination":{"namespace":"x","server":"https://127.0.0.1:9"},
			"source":{"repoURL":"r.example.com/fleet-charts","chart":"argo-operator","targetRevision":"1.4.1-dev.3.gabcdefabcdef"}}}`,
			Entry{Repository: "r.example.com/fleet-charts/argo-operator", Tag: "1.4.1-dev.3.gabcdefabcdef", Digest: digest(1)},
		},
		"Flux helmrelease": {
			schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"},
			`{"apiVersion":"helm.toolkit.fluxcd.io/v2","kind":"HelmRelease","spec":{"suspend":true,"interval":"1h","chartRef":{"kind":"OCIRepository","name":"operator"},
			"values":{"image":"r.example.com/fleet/operator@` + used + `"}}}`,
			Entry{Repository: "r.example.com/fleet/operator", Tag: "x", Digest: used},
		},
		"Flux helmrelease of a HelmRepository": {
			schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"},
			`{"apiVersion":"helm.toolkit.fluxcd.io/v2","kind":"HelmRelease","spec":{"suspend":true,"interval":"1h",
			"chart":{"spec":{"chart":"other-operator","version":"1.4.1-dev.3.gabcdefabcdef","sourceRef":{"kind":"HelmRepository","name":"fleet"}}}}}`,
			Entry{Repository: "r.example.com/fleet-charts/other-operator", Tag: "1.4.1-dev.3.gabcdefabcdef", Digest: digest(4)},
		},
		"Flux ocirepository": {
			schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "ocirepositories"},
			`{"apiVersion":"source.toolkit.fluxcd.io/v1","kind":"OCIRepository","spec":{"suspend":true,"interval":"1h","url":"oci://r.example.com/fleet-charts/flux-operator","ref":{"tag":"1.4.1-dev.3.gabcdefabcdef"}}}`,
			Entry{Repository: "r.example.com/fleet-charts/flux-operator", Tag: "1.4.1-dev.3.gabcdefabcdef", Digest: digest(2)},
		},
	}
	for who, o := range objects {
		object := unstructured.Unstructured{}
		if err := object.UnmarshalJSON([]byte(o.object)); err != nil {
			t.Fatal(err)
		}
		object.SetName(strings.ToLower(strings.ReplaceAll(who, " ", "-")))
		if _, err := client.Resource(o.resource).Namespace(namespace).Create(t.Context(), &object, metav1.CreateOptions{}); err != nil {
			t.Fatalf("%s: %v", who, err)
		}
	}
	topology := protocol.Topology{Targets: map[string]protocol.Target{"t": {InCluster: &protocol.InCluster{Namespace: namespace}}}}
	conn, err := conn.Connect(&conn.Flags{Kubeconfig: cluster.Kubeconfig}, topology, "t")
	if err != nil {
		t.Fatal(err)
	}
	uses := NewUses()
	if err := uses.Collect(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	for who, o := range objects {
		if by, want := uses.by(o.entry), namespace+"/"+strings.ToLower(strings.ReplaceAll(who, " ", "-")); !strings.Contains(by, want) {
			t.Errorf("%s:%s is used by %q, want %q", o.entry.Repository, o.entry.Tag, by, want)
		}
		other := o.entry
		other.Tag, other.Digest = "1.4.1-dev.4.gabcdefabcdef", digest(3)
		if by := uses.by(other); by != "" {
			t.Errorf("%s:%s is used by %s", other.Repository, other.Tag, by)
		}
	}
}

// A cluster that cannot be asked may use everything.
func TestCollectUnreachable(t *testing.T) {
	cluster := clustertest.Config(t)
	topology := protocol.Topology{Targets: map[string]protocol.Target{"t": {InCluster: &protocol.InCluster{Namespace: "default"}}}}
	conn, err := conn.Connect(&conn.Flags{Kubeconfig: cluster.Kubeconfig, Server: "https://127.0.0.1:9"}, topology, "t")
	if err != nil {
		t.Fatal(err)
	}
	if err := NewUses().Collect(t.Context(), conn); protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("got %v", err)
	}
}
