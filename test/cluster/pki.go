package main

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
	"time"
)

// identity is a certificate with its key, as files NAME.crt and NAME.key.
type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// request says what a certificate is to attest.
type request struct {
	file   string // without .crt
	user   string
	group  string
	hosts  []string // names and addresses of a server
	signer string   // file of the authority
}

func (c *cluster) requests() []request {
	api := []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		"localhost", "127.0.0.1", c.nodeIP(), c.kubernetesIP(),
	}
	return []request{
		{file: "apiserver", user: "kube-apiserver", hosts: api, signer: "ca"},
		{file: "apiserver-kubelet", user: "kube-apiserver", group: "system:masters", signer: "ca"},
		{file: "kubelet-server", user: c.name, hosts: []string{c.name, c.nodeIP()}, signer: "ca"},
		{file: "front-proxy", user: "front-proxy", signer: "front-proxy-ca"},
		{file: "admin", user: "kubernetes-admin", group: "system:masters", signer: "ca"},
		{file: "kubelet", user: "system:node:" + c.name, group: "system:nodes", signer: "ca"},
		{file: "controller-manager", user: "system:kube-controller-manager", signer: "ca"},
		{file: "scheduler", user: "system:kube-scheduler", signer: "ca"},
		{file: "proxy", user: "system:kube-proxy", signer: "ca"},
	}
}

// writePKI makes all keys and certificates, unless they are there. The folder
// appears under its name only when it is complete.
func (c *cluster) writePKI() error {
	target, draft := c.path("pki"), c.path("pki.draft")
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if err := os.RemoveAll(draft); err != nil {
		return err
	}
	if err := os.MkdirAll(draft, 0o700); err != nil {
		return err
	}
	if err := writeIdentities(draft, c.requests()); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	return os.Rename(draft, target)
}

func writeIdentities(dir string, requests []request) error {
	authorities := map[string]*identity{}
	for _, name := range []string{"ca", "front-proxy-ca"} {
		authority, err := issue(request{file: name, user: "harmony-test-" + name}, nil)
		if err != nil {
			return err
		}
		authorities[name] = authority
		if err := authority.write(dir, name); err != nil {
			return err
		}
	}
	for _, r := range requests {
		id, err := issue(r, authorities[r.signer])
		if err != nil {
			return err
		}
		if err := id.write(dir, r.file); err != nil {
			return err
		}
	}
	serviceAccounts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return writeKey(dir, "service-accounts", serviceAccounts)
}

// issue makes a key and its certificate, signed by the authority, or by itself
// as an authority when there is none.
func issue(r request, authority *identity) (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := certificateFor(r)
	if err != nil {
		return nil, err
	}
	signer := authority
	if signer == nil {
		template.IsCA = true
		template.KeyUsage |= x509.KeyUsageCertSign
		signer = &identity{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, key.Public(), signer.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &identity{cert: cert, key: key}, err
}

func certificateFor(r request) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: r.user},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if r.group != "" {
		template.Subject.Organization = []string{r.group}
	}
	for _, host := range r.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template, nil
}

func (id *identity) write(dir, name string) error {
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.cert.Raw})
	if err := os.WriteFile(filepath.Join(dir, name+".crt"), block, 0o644); err != nil {
		return err
	}
	return writeKey(dir, name, id.key)
}

func writeKey(dir, name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return os.WriteFile(filepath.Join(dir, name+".key"), block, 0o600)
}
