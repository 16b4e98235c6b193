package buildkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/nationtech/harmony/pkg/protocol"
)

var scratchFiles = map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"} //nolint:gochecknoglobals // never written to

// authority signs certificates into a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	must(t, err)
	a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	must(t, os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) issue(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.cert, &key.PublicKey, a.key)
	must(t, err)
	a.write(t, name+".pem", "CERTIFICATE", der)
	der, err = x509.MarshalECPrivateKey(key)
	must(t, err)
	a.write(t, name+".key", "EC PRIVATE KEY", der)
}

func TestMutualTLS(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "builder")
	a.issue(t, "harmony")
	tls := map[string]any{"ca": a.path("ca.pem"), "cert": a.path("harmony.pem"), "key": a.path("harmony.key"), "serverName": "builder"}
	d := start(t, freeAddress(t), "--tlscert", a.path("builder.pem"), "--tlskey", a.path("builder.key"), "--tlscacert", a.path("ca.pem"))
	d.ready(t, tlsFiles{CA: a.path("ca.pem"), Cert: a.path("harmony.pem"), Key: a.path("harmony.key"), ServerName: "builder"})
	newProject(t, map[string]any{"address": d.address, "tls": tls}, scratchFiles).mustBuild()
	stranger := newAuthority(t)
	stranger.issue(t, "harmony")
	for name, wrong := range map[string]map[string]any{
		"no certificate":       {"ca": a.path("ca.pem"), "serverName": "builder"},
		"another's":            {"ca": a.path("ca.pem"), "cert": stranger.path("harmony.pem"), "key": stranger.path("harmony.key"), "serverName": "builder"},
		"an unknown authority": {"ca": stranger.path("ca.pem"), "cert": a.path("harmony.pem"), "key": a.path("harmony.key"), "serverName": "builder"},
		"another name":         {"ca": a.path("ca.pem"), "cert": a.path("harmony.pem"), "key": a.path("harmony.key"), "serverName": "other"},
	} {
		if ref, err := newProject(t, map[string]any{"address": d.address, "tls": wrong}, scratchFiles).build(t.Context()); err == nil {
			t.Errorf("%s: built %+v", name, ref)
		}
	}
}

// Here kubectl is a script that makes of its last arguments what the real one
// would run in the pod; test/e2e builds in real pods.
func TestKubePodRunsKubectl(t *testing.T) {
	buildctl := program(t, "HARMONY_TEST_BUILDCTL")
	d := startReady(t)
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" > %s/args\nexec %s --addr %s dial-stdio\n", bin, buildctl, d.address)
	must(t, os.WriteFile(filepath.Join(bin, "kubectl"), []byte(script), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	address := "kube-pod://buildkit-0?namespace=build&context=east"
	ref := newProject(t, map[string]any{"address": address}, scratchFiles).withRegistry().mustBuild()
	if contents(t, ref)["a"] != "a" {
		t.Errorf("built %+v", ref)
	}
	const want = "--context=east --namespace=build exec --container= -i buildkit-0 -- buildctl dial-stdio\n"
	if args, err := os.ReadFile(filepath.Join(bin, "args")); err != nil || string(args) != want {
		t.Errorf("kubectl was run with %q, %v", args, err)
	}
	t.Setenv("PATH", t.TempDir())
	_, err := newProject(t, map[string]any{"address": "kube-pod://x"}, scratchFiles).build(t.Context())
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "kubectl") {
		t.Errorf("without kubectl: %v", err)
	}
}

// RUN gets at an agent, and so at signatures, but at no key.
func TestSSHMount(t *testing.T) {
	_, key, err := generateKey()
	must(t, err)
	keyring := agent.NewKeyring()
	must(t, keyring.Add(agent.AddedKey{PrivateKey: key, Comment: "of the test"}))
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			go func() { _ = agent.ServeAgent(keyring, conn) }() // ends with the connection
		}
	}()
	base := pushBusybox(t)
	p := newProject(t, addressed(startReady(t)), map[string]string{
		"Dockerfile": "FROM " + base + "\nRUN --mount=type=ssh,id=deploy test -S \"$SSH_AUTH_SOCK\" && echo yes > /socket\n",
	})
	t.Setenv("TEST_AGENT", socket)
	p.app.Image.Dockerfile.SSH = map[string]string{"deploy": "env:TEST_AGENT"}
	if files := contents(t, p.mustBuild()); files["socket"] != "yes\n" {
		t.Errorf("no agent in RUN: %v", files["socket"])
	}
	p.app.Image.Dockerfile.SSH = map[string]string{"other": "env:TEST_AGENT"}
	p.flags.NoCache = true // or the builder would still know the result
	if _, err := p.build(t.Context()); err == nil {
		t.Error("RUN got an agent that the app does not name for it")
	}
}

func generateKey() (ssh.PublicKey, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	public, err := ssh.NewPublicKey(&key.PublicKey)
	return public, key, err
}
