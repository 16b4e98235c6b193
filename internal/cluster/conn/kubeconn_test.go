package conn

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/nationtech/harmony/pkg/protocol"
)

const kubeconfig = `apiVersion: v1
kind: Config
current-context: staging
clusters:
- {name: eu, cluster: {server: "https://eu.example.com:6443"}}
- {name: us, cluster: {server: "https://us.example.com:6443"}}
users:
- {name: me, user: {token: secret-token}}
contexts:
- {name: staging, context: {cluster: eu, user: me, namespace: from-context}}
- {name: production, context: {cluster: us, user: me}}
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func topology(targets map[string]protocol.Target) protocol.Topology {
	return protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}, Targets: targets}
}

func in(context, namespace string) protocol.Target {
	return protocol.Target{InCluster: &protocol.InCluster{Context: context, Namespace: namespace}}
}

func TestConnect(t *testing.T) {
	path := write(t, kubeconfig)
	for _, c := range []struct {
		name                     string
		flags                    Flags
		target                   protocol.Target
		context, namespace, host string
	}{
		{"current context", Flags{}, in("", "fleet"), "staging", "fleet", "https://eu.example.com:6443"},
		{"the target's", Flags{}, in("production", "fleet"), "production", "fleet", "https://us.example.com:6443"},
		{"flags win", Flags{Context: "staging", Namespace: "mine"}, in("production", "fleet"), "staging", "mine", "https://eu.example.com:6443"},
		{"server flag wins", Flags{Server: "https://127.0.0.1:1"}, in("production", "fleet"), "production", "fleet", "https://127.0.0.1:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.flags.Kubeconfig = path
			conn, err := Connect(&c.flags, topology(map[string]protocol.Target{"t": c.target}), "t")
			if err != nil {
				t.Fatal(err)
			}
			if conn.Context != c.context || conn.Namespace != c.namespace || conn.Config.Host != c.host {
				t.Errorf("context %q, namespace %q, host %q, want %q, %q, %q", conn.Context, conn.Namespace, conn.Config.Host, c.context, c.namespace, c.host)
			}
		})
	}
}

func TestConnectImpersonates(t *testing.T) {
	flags := Flags{}
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Bind(set)
	if err := set.Parse([]string{"--kubeconfig", write(t, kubeconfig), "--as", "ci", "--as-group", "a", "--as-group", "b", "--request-timeout", "3s"}); err != nil {
		t.Fatal(err)
	}
	conn, err := Connect(&flags, topology(map[string]protocol.Target{"t": in("", "fleet")}), "t")
	if err != nil {
		t.Fatal(err)
	}
	who := conn.Config.Impersonate
	if who.UserName != "ci" || len(who.Groups) != 2 || conn.Config.Timeout.Seconds() != 3 {
		t.Errorf("impersonates %+v, timeout %s", who, conn.Config.Timeout)
	}
}

func TestConnectErrors(t *testing.T) {
	path := write(t, kubeconfig)
	targets := map[string]protocol.Target{
		"staging": in("", "fleet"), "typo": in("productoin", "fleet"),
		"multi": {MultiCluster: &protocol.MultiCluster{Namespace: "fleet"}}, "edge": {EdgeDevice: &protocol.EdgeDevice{Device: "d"}},
	}
	for _, c := range []struct {
		name, kubeconfig, target string
		code                     int
		words                    []string
	}{
		{"unknown target", path, "stagin", protocol.ExitUnsupported, []string{`"ci" has no target "stagin"`, `did you mean "staging"?`, "edge, multi, staging, typo"}},
		{"multiCluster", path, "multi", protocol.ExitUnsupported, []string{"multiCluster"}},
		{"edgeDevice", path, "edge", protocol.ExitUnsupported, []string{"edgeDevice"}},
		{"unknown context", path, "typo", protocol.ExitInvalid, []string{`no context "productoin"`, `did you mean "production"?`, "production, staging"}},
		{"no file", path + "x", "staging", protocol.ExitInvalid, []string{path + "x", "does not exist"}},
		{"empty file", write(t, ""), "staging", protocol.ExitInvalid, []string{"no Kubernetes cluster", "--kubeconfig"}},
		{"empty file and a context", write(t, ""), "typo", protocol.ExitInvalid, []string{"missing or empty"}},
		{"not YAML", write(t, "a: ["), "staging", protocol.ExitInvalid, []string{"kubeconfig"}},
		{"no such cluster", write(t, strings.Replace(kubeconfig, "cluster: eu,", "cluster: gone,", 1)), "staging", protocol.ExitInvalid, []string{"gone"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Connect(&Flags{Kubeconfig: c.kubeconfig}, topology(targets), c.target)
			if protocol.ExitCode(err) != c.code {
				t.Fatalf("error %v with exit code %d, want %d", err, protocol.ExitCode(err), c.code)
			}
			told := err.Error() + " / " + protocol.HintOf(err)
			for _, word := range c.words {
				if !strings.Contains(told, word) {
					t.Errorf("%q does not say %q", told, word)
				}
			}
			if strings.Contains(told, "secret-token") {
				t.Errorf("%q holds a secret", told)
			}
		})
	}
}

func TestConnectWithoutKubeconfig(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "absent"))
	_, err := Connect(nil, topology(map[string]protocol.Target{"t": in("", "fleet")}), "t")
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "absent") {
		t.Errorf("error %v, want invalid input that says where it looked", err)
	}
}

func TestExplain(t *testing.T) {
	conn := &Conn{Context: "staging", Config: &rest.Config{Host: "https://eu.example.com:6443"}}
	pods := schema.GroupResource{Resource: "pods"}
	for _, c := range []struct {
		name string
		err  error
		code int
		word string
	}{
		{"refused", &url.Error{Op: "Get", URL: "https://x/?token=secret", Err: fmt.Errorf("dial: %w", syscall.ECONNREFUSED)}, protocol.ExitRetryable, "eu.example.com"},
		{"cut while it was written", &url.Error{Op: "Get", URL: "https://x/", Err: fmt.Errorf("write: %w", syscall.EPIPE)}, protocol.ExitRetryable, "cannot be reached"},
		{"cut", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), protocol.ExitRetryable, "cannot be reached"},
		{"busy", apierrors.NewTooManyRequests("slow down", 1), protocol.ExitRetryable, "slow down"},
		{"internal", apierrors.NewInternalError(errors.New("etcdserver: leader changed")), protocol.ExitRetryable, "leader changed"},
		{"webhook away", apierrors.NewInternalError(errors.New(`failed calling webhook "p": Post "https://p/": dial tcp: connect: connection refused`)), protocol.ExitRetryable, "refused"},
		{"webhook broken", apierrors.NewInternalError(errors.New(`failed calling webhook "p": Post "https://p/": tls: failed to verify certificate: x509: unknown authority`)), protocol.ExitFailed, "x509"},
		{"unauthorised", apierrors.NewUnauthorized("who are you"), protocol.ExitFailed, `context "staging"`},
		{"forbidden", apierrors.NewForbidden(pods, "p", errors.New("no")), protocol.ExitFailed, "eu.example.com"},
		{"unknown authority", &url.Error{Err: x509.UnknownAuthorityError{}}, protocol.ExitFailed, "unknown authority"},
		{"interrupted", fmt.Errorf("get: %w", context.Canceled), protocol.ExitInterrupted, "get"},
		{"explained", protocol.Invalid("bad"), protocol.ExitInvalid, "bad"},
		{"another", errors.New("odd"), protocol.ExitFailed, "odd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := conn.Explain(c.err)
			if protocol.ExitCode(err) != c.code || !strings.Contains(err.Error(), c.word) {
				t.Errorf("error %v with exit code %d, want %q with %d", err, protocol.ExitCode(err), c.word, c.code)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%v holds a secret", err)
			}
		})
	}
	if conn.Explain(nil) != nil {
		t.Error("nothing became an error")
	}
}

// A real server's refusal goes the whole way.
func TestExplainOfARealAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusUnauthorized)
	}))
	defer server.Close()
	conn := &Conn{Context: "staging", Config: &rest.Config{Host: server.URL}}
	client, err := rest.UnversionedRESTClientFor(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{
		GroupVersion: &schema.GroupVersion{Version: "v1"}, NegotiatedSerializer: serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Explain(client.Get().AbsPath("/version").Do(t.Context()).Error())
	if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "does not accept the credentials") {
		t.Errorf("error %v", err)
	}
}
