package smoke

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// httpProbe sends the request of an HTTPCheck and compares the answer.
type httpProbe struct {
	check  protocol.HTTPCheck
	expect expectation
	// path and query are what the check asks for, still escaped.
	path, query string
	method      string
	headers     map[string]string
	body        string
	// client and base are for a URL, cluster for a service.
	client  *http.Client
	base    string
	cluster *cluster
}

// newHTTPProbe checks everything that can be wrong before the first request.
func newHTTPProbe(root string, check protocol.HTTPCheck, cluster *cluster) (*httpProbe, error) {
	expect, err := newExpectation(check.Expect)
	if err != nil {
		return nil, err
	}
	p := &httpProbe{check: check, expect: expect, cluster: cluster, method: cmp.Or(check.Method, http.MethodGet), body: check.Body}
	if check.BodyFile != "" {
		body, err := readFile(root, check.BodyFile)
		if err != nil {
			return nil, fmt.Errorf("http.bodyFile: %w", err)
		}
		p.body = string(body)
	}
	if p.headers, err = readHeaders(root, check.Headers); err != nil {
		return nil, err
	}
	path, _, _ := strings.Cut(check.Path, "#")
	p.path, p.query, _ = strings.Cut(path, "?")
	if check.URL == "" {
		return p, p.checkProxied()
	}
	if err := p.setURL(); err != nil {
		return nil, err
	}
	p.client, err = p.newClient(root)
	return p, err
}

// setURL appends path and query to those of the URL.
func (p *httpProbe) setURL() error {
	u, err := url.Parse(p.check.URL)
	if err != nil {
		return fmt.Errorf("http.url: %w", err)
	}
	switch {
	case u.RawQuery == "":
	case p.query == "":
		p.query = u.RawQuery
	default:
		p.query = u.RawQuery + "&" + p.query
	}
	if p.path == "" {
		p.path = u.EscapedPath()
	} else {
		p.path = strings.TrimSuffix(u.EscapedPath(), "/") + p.path
	}
	p.base = u.Scheme + "://" + u.Host
	return nil
}

// checkProxied refuses headers and paths that would address the API server instead
// of the service, with the rights of the user who runs the check: the service
// proxy, or a server before it, would take the path for another.
func (p *httpProbe) checkProxied() error {
	if what := unclean(p.path); what != "" {
		return fmt.Errorf("http.path: %q has %s, which does not go through the API server's service proxy as it is; use url", p.path, what)
	}
	if p.check.TLS != nil {
		return errors.New("http.tls is for a url: the API server's service proxy does not verify the certificate of a service")
	}
	for name := range p.check.Headers {
		canonical := http.CanonicalHeaderKey(name)
		if canonical == "Authorization" || canonical == "Host" || strings.HasPrefix(canonical, "Impersonate-") {
			return fmt.Errorf("http.headers.%s does not go through the API server's service proxy; use url", name)
		}
	}
	return nil
}

// unclean names the part of a path that servers on its way may resolve, however
// often it is escaped; "" when there is none.
func unclean(path string) string {
	for escaped := false; ; escaped = true {
		switch {
		case strings.Contains(path, `\`):
			return "a backslash"
		case strings.Contains(path, "//"):
			return "an empty segment"
		case strings.ContainsAny(path, "?#"):
			return "an escaped ? or #"
		case strings.ContainsFunc(path, unicode.IsControl):
			return "a control character"
		}
		for segment := range strings.SplitSeq(path, "/") {
			if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
				return "a segment " + name
			}
		}
		unescaped, err := url.PathUnescape(path)
		switch {
		case err != nil && !escaped:
			return "an invalid escape"
		case err != nil || unescaped == path:
			return ""
		case strings.Count(unescaped, "/") > strings.Count(path, "/"):
			return "an escaped slash"
		}
		path = unescaped
	}
}

func (p *httpProbe) newClient(root string) (*http.Client, error) {
	settings, err := tlsConfig(root, p.check.TLS)
	if err != nil {
		err = fmt.Errorf("http.%w", err)
	}
	return &http.Client{
		// A new connection for every attempt: the next one must not be answered by a
		// pod that takes no new connections.
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true, TLSClientConfig: settings},
		CheckRedirect: p.redirect,
	}, err
}

const userAgent = "harmony-smoke"

func tlsConfig(root string, config *protocol.TLSConfig) (*tls.Config, error) {
	if config == nil {
		return nil, nil
	}
	settings := &tls.Config{ServerName: config.ServerName, InsecureSkipVerify: config.InsecureSkipVerify}
	if config.CAFile == "" {
		return settings, nil
	}
	pem, err := readFile(root, config.CAFile)
	if err != nil {
		return nil, fmt.Errorf("tls.caFile: %w", err)
	}
	settings.RootCAs = x509.NewCertPool()
	if !settings.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.caFile: %s contains no PEM certificate", config.CAFile)
	}
	return settings, nil
}

func (p *httpProbe) attempt(ctx context.Context) (string, error) {
	a, err := p.ask(ctx)
	if err != nil {
		return "", err
	}
	if err := p.expect.match(a); err != nil {
		return "", fmt.Errorf("%s: %w", p.name(), err)
	}
	return fmt.Sprintf("%s: status %d", p.name(), a.status), nil
}

// ask sends the request and reads the answer of the app.
func (p *httpProbe) ask(ctx context.Context) (answer, error) {
	send, base, err := p.way(ctx)
	if err != nil {
		return answer{}, err
	}
	req, err := p.request(ctx, base)
	if err != nil {
		return answer{}, err
	}
	start := time.Now()
	resp, err := send(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return answer{}, fmt.Errorf("%s: read the answer: %w", p.name(), withoutURL(err))
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: body[:min(len(body), maxBody)], cut: len(body) > maxBody, took: time.Since(start)}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		a.validUntil = resp.TLS.PeerCertificates[0].NotAfter
	}
	if p.cluster != nil && p.check.Service != "" {
		err = p.proxyError(a)
	}
	return a, err
}

// way is how a request is sent, and the URL that the path is appended to.
func (p *httpProbe) way(ctx context.Context) (func(*http.Request) (*http.Response, error), string, error) {
	if p.check.Service != "" {
		base, err := p.serviceBase(ctx)
		return p.cluster.do, base, err
	}
	return func(req *http.Request) (*http.Response, error) {
		resp, err := p.client.Do(req)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name(), withoutURL(err))
		}
		return resp, nil
	}, p.base, nil
}

func (p *httpProbe) request(ctx context.Context, base string) (*http.Request, error) {
	address := base + p.path
	if p.query != "" {
		address += "?" + p.query
	}
	req, err := http.NewRequestWithContext(ctx, p.method, address, strings.NewReader(p.body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name(), withoutURL(err))
	}
	req.Header.Set("User-Agent", userAgent)
	for name, value := range p.headers {
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	return req, nil
}

// name is the request as a message tells it: without the query, which can hold
// secrets.
func (p *httpProbe) name() string {
	if p.check.Service != "" {
		return fmt.Sprintf("%s %s of service %s", p.method, cmp.Or(p.path, "/"), p.check.Service)
	}
	return fmt.Sprintf("%s %s%s", p.method, p.base, p.path)
}

// serviceBase is the URL of the service in the API server's proxy.
func (p *httpProbe) serviceBase(ctx context.Context) (string, error) {
	port := int32(p.check.Port)
	if port == 0 {
		service, err := p.cluster.service(ctx, p.check.Service)
		if err != nil {
			return "", err
		}
		port = service.Spec.Ports[0].Port
	}
	base := fmt.Sprintf("%s/api/v1/namespaces/%s/services/%s:%s:%d/proxy",
		p.cluster.server, p.cluster.Namespace, cmp.Or(p.check.Scheme, "http"), p.check.Service, port)
	if p.path == "" {
		base += "/" // without it the API server redirects
	}
	return base, nil
}

// proxyError recognizes an answer that is the API server's own and not the
// service's: without this, a check that expects a 404 would be satisfied by a
// service that does not exist.
func (p *httpProbe) proxyError(a answer) error {
	var status metav1.Status
	if a.status < 400 || json.Unmarshal(a.body, &status) != nil || status.Kind != "Status" || int(status.Code) != a.status {
		return nil
	}
	service, message := p.check.Service, status.Message
	_, cause, unreachable := strings.Cut(message, "error trying to reach service: ")
	switch {
	case strings.HasPrefix(message, "no endpoints available for service"):
		return fmt.Errorf("%w behind service %s", errNoPod, service)
	case unreachable:
		return fmt.Errorf("service %s: the API server cannot reach its pod: %s", service, cause)
	case a.status == http.StatusNotFound && strings.Contains(message, fmt.Sprintf("services %q not found", service)):
		return fmt.Errorf("no service %s in namespace %s", service, p.cluster.Namespace)
	case strings.Contains(message, "no service port"):
		return fmt.Errorf("service %s has no port %d", service, p.check.Port)
	case status.Reason == metav1.StatusReasonForbidden && strings.Contains(message, `"services/proxy"`),
		status.Reason == metav1.StatusReasonUnauthorized:
		return newBlocked(p.cluster.Explain(&apierrors.StatusError{ErrStatus: status}))
	}
	return nil
}
