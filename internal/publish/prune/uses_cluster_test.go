package prune

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/kubeconn"
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
	conn, err := kubeconn.Connect(&kubeconn.Flags{Kubeconfig: cluster.Kubeconfig}, topology, "t")
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

// A cluster that cannot be asked may use everything.
func TestCollectUnreachable(t *testing.T) {
	cluster := clustertest.Config(t)
	topology := protocol.Topology{Targets: map[string]protocol.Target{"t": {InCluster: &protocol.InCluster{Namespace: "default"}}}}
	conn, err := kubeconn.Connect(&kubeconn.Flags{Kubeconfig: cluster.Kubeconfig, Server: "https://127.0.0.1:9"}, topology, "t")
	if err != nil {
		t.Fatal(err)
	}
	if err := NewUses().Collect(t.Context(), conn); protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("got %v", err)
	}
}
