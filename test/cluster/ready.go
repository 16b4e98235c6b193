package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// apiClient speaks to the API server as the administrator.
func (c *cluster) apiClient() (*http.Client, error) {
	authority, err := os.ReadFile(c.path("pki", "ca.crt"))
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(c.path("pki", "admin.crt"), c.path("pki", "admin.key"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	settings := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true}}, nil
}

// httpOK fetches a URL and fails unless the answer is 200.
func httpOK(ctx context.Context, client *http.Client, url string) error {
	_, err := fetch(ctx, client, url)
	return err
}

func fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return body, err
}

// apiReady fails until the API server is ready.
func (c *cluster) apiReady(ctx context.Context) error {
	client, err := c.apiClient()
	if err != nil {
		return err
	}
	return httpOK(ctx, client, c.server()+"/readyz")
}

// node is what nodeReady needs of a Node.
type node struct {
	Spec struct {
		Taints []struct{ Key string }
	}
	Status struct {
		Conditions []struct{ Type, Status, Message string }
	}
}

// nodeReady fails until pods can be scheduled and started in the default namespace.
func (c *cluster) nodeReady(ctx context.Context) error {
	if err := httpOK(ctx, nil, "http://127.0.0.1:"+c.port(portKubeletHealth)+"/healthz"); err != nil {
		return err
	}
	client, err := c.apiClient()
	if err != nil {
		return err
	}
	body, err := fetch(ctx, client, c.server()+"/api/v1/nodes/"+c.name)
	if err != nil {
		return err
	}
	if err := checkNode(body); err != nil {
		return err
	}
	return httpOK(ctx, client, c.server()+"/api/v1/namespaces/default/serviceaccounts/default")
}

// checkNode reads a Node and says why it takes no pods, if it takes none.
func checkNode(body []byte) error {
	var n node
	if err := json.Unmarshal(body, &n); err != nil {
		return fmt.Errorf("read the node: %w", err)
	}
	if len(n.Spec.Taints) > 0 {
		return fmt.Errorf("the node has the taint %s", n.Spec.Taints[0].Key)
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type != "Ready" {
			continue
		}
		if condition.Status != "True" {
			return fmt.Errorf("the node is not ready: %s", condition.Message)
		}
		return nil
	}
	return fmt.Errorf("the node has not reported yet")
}

// unixAnswers fails until something listens on the socket.
func unixAnswers(ctx context.Context, path string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}
