package clustertest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// startLimit is how long an API server may take to be ready.
const startLimit = time.Minute

// token is that of the administrator of every such server.
const token = "token-of-a-test"

// APIServers starts API servers of their own, with an etcd that they share and
// without nodes and controllers: objects stay what they are written as, and no
// pod ever runs. They end with the test. The programs are those of the kit.
func APIServers(t testing.TB, names ...string) []Cluster {
	t.Helper()
	programs := filepath.Join(filepath.Dir(Kubeconfig(t)), "bin")
	if _, err := os.Stat(filepath.Join(programs, "kube-apiserver")); err != nil {
		t.Skipf("needs the test cluster of the kit: %v", err)
	}
	kit := serverKit{TB: t, programs: programs, dir: t.TempDir()}
	etcd := kit.startEtcd()
	kit.write("tokens.csv", []byte(token+",admin,admin,system:masters\n"))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	kit.write("service-accounts.key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	var clusters []Cluster
	for _, name := range names {
		clusters = append(clusters, kit.startServer(name, etcd))
	}
	for i, c := range clusters {
		kit.await(names[i], func(ctx context.Context) error {
			return c.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		})
	}
	return clusters
}

type serverKit struct {
	testing.TB
	programs, dir string
}

func (k serverKit) write(name string, content []byte) string {
	k.Helper()
	path := filepath.Join(k.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		k.Fatal(err)
	}
	return path
}

// Start starts a program of the kit, which is killed at the end of the test.
// Variables are added to the environment.
func Start(t testing.TB, program string, variables []string, args ...string) {
	t.Helper()
	k := serverKit{TB: t, programs: filepath.Join(filepath.Dir(Kubeconfig(t)), "bin"), dir: t.TempDir()}
	k.start(program, program, variables, args...)
}

// Port is a free one.
func Port(t testing.TB) string {
	t.Helper()
	return serverKit{TB: t}.port()
}

func (k serverKit) start(name, program string, variables []string, args ...string) {
	k.Helper()
	var log bytes.Buffer
	cmd := exec.Command(filepath.Join(k.programs, program), args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Dir, cmd.Env = k.dir, append(os.Environ(), variables...)
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself, which the log tells
		_ = cmd.Wait()
		if k.Failed() {
			k.Logf("end of the log of %s:\n%s", name, log.Bytes()[max(0, log.Len()-2000):])
		}
	})
}

func (k serverKit) port() string {
	k.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		k.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		k.Fatal(err)
	}
	return port
}

func (k serverKit) startEtcd() (url string) {
	k.Helper()
	url, peer := "http://127.0.0.1:"+k.port(), "http://127.0.0.1:"+k.port()
	k.start("etcd", "etcd", nil, "--data-dir="+filepath.Join(k.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+url, "--advertise-client-urls="+url,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	k.await("etcd", func(ctx context.Context) error {
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

func (k serverKit) startServer(name, etcd string) Cluster {
	k.Helper()
	port, certificates := k.port(), filepath.Join(k.dir, name)
	key := filepath.Join(k.dir, "service-accounts.key")
	k.start("kube-apiserver "+name, "kube-apiserver", nil,
		"--etcd-servers="+etcd, "--etcd-prefix=/"+name, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+port,
		"--cert-dir="+certificates, "--token-auth-file="+filepath.Join(k.dir, "tokens.csv"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=198.19.250.0/24",
		"--profiling=false")
	// It signs a certificate for itself, which its file holds with the authority's.
	authority := filepath.Join(certificates, "apiserver.crt")
	k.await(name, func(context.Context) error {
		_, err := os.Stat(authority)
		return err
	})
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:" + port, CertificateAuthority: authority}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	c := Cluster{Kubeconfig: filepath.Join(k.dir, name+".kubeconfig")}
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

// await asks until the answer is good.
func (k serverKit) await(name string, ask func(context.Context) error) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), startLimit)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			k.Fatalf("%s is not ready after %s: %v", name, startLimit, err)
		case <-ticker.C:
		}
	}
}

// Token is the administrator's on a server of APIServers.
func Token() string { return token }

// Join writes a kubeconfig with a context for each cluster, under its name and
// with its labels, a JSON object, as harmony reads them.
func Join(t testing.TB, clusters map[string]Cluster, labels map[string]string) string {
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
	return map[string]runtime.Object{"harmony.nationtech.io/labels": &runtime.Unknown{Raw: []byte(labels), ContentType: runtime.ContentTypeJSON}}
}
