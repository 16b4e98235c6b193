package smoke

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// tryURL makes one attempt at a check of a URL.
func tryURL(t *testing.T, root string, check protocol.HTTPCheck) (string, error) {
	t.Helper()
	p, err := newHTTPProbe(root, check, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.attempt(t.Context())
}

func TestHTTPRequest(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s host=%s x=%s body=%s", r.Method, r.RequestURI, r.Host, r.Header.Get("X-Test"), body)
	}))
	defer server.Close()
	tests := map[string]struct {
		check protocol.HTTPCheck
		want  string
	}{
		"root":           {protocol.HTTPCheck{URL: server.URL}, "GET / "},
		"path":           {protocol.HTTPCheck{URL: server.URL, Path: "/devices"}, "GET /devices "},
		"query":          {protocol.HTTPCheck{URL: server.URL, Path: "/devices?a=1&b=x%20y"}, "GET /devices?a=1&b=x%20y "},
		"query of URL":   {protocol.HTTPCheck{URL: server.URL + "/api?a=1", Path: "/devices?b=2"}, "GET /api/devices?a=1&b=2 "},
		"only URL":       {protocol.HTTPCheck{URL: server.URL + "/api/?a=1"}, "GET /api/?a=1 "},
		"slash in URL":   {protocol.HTTPCheck{URL: server.URL + "/api/", Path: "/x"}, "GET /api/x "},
		"escaped":        {protocol.HTTPCheck{URL: server.URL, Path: "/a%2Fb/%C3%A9"}, "GET /a%2Fb/%C3%A9 "},
		"fragment":       {protocol.HTTPCheck{URL: server.URL, Path: "/a#b"}, "GET /a "},
		"method, body":   {protocol.HTTPCheck{URL: server.URL, Method: "POST", Body: `{"a":1}`}, `POST / host=` + strings.TrimPrefix(server.URL, "http://") + ` x= body={"a":1}`},
		"headers":        {protocol.HTTPCheck{URL: server.URL, Headers: map[string]string{"x-test": "7"}}, "x=7 "},
		"header of host": {protocol.HTTPCheck{URL: server.URL, Headers: map[string]string{"host": "example.com"}}, "host=example.com "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.check.Expect.Body = test.want
			if _, err := tryURL(t, "", test.check); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}
	}))
	defer server.Close()
	check := protocol.HTTPCheck{URL: server.URL, Expect: protocol.HTTPExpect{Status: 302, Headers: map[string]string{"Location": "/elsewhere"}}}
	if _, err := tryURL(t, "", check); err != nil {
		t.Error(err)
	}
}

func TestBodyLimit(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("start" + strings.Repeat("x", maxBody)))
	}))
	defer server.Close()
	if _, err := tryURL(t, "", protocol.HTTPCheck{URL: server.URL}); err != nil {
		t.Errorf("a large body that nobody looks at: %v", err)
	}
	_, err := tryURL(t, "", protocol.HTTPCheck{URL: server.URL, Expect: protocol.HTTPExpect{Body: "start"}})
	if err == nil || !strings.Contains(err.Error(), "the body is over 1048576 bytes") {
		t.Errorf("error %v, want the limit", err)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	root := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(root, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		tls  *protocol.TLSConfig
		want string // of the error; none when empty
	}{
		"unknown authority": {nil, "certificate signed by unknown authority"},
		"CA file":           {&protocol.TLSConfig{CAFile: "ca.pem"}, ""},
		"server name":       {&protocol.TLSConfig{CAFile: "ca.pem", ServerName: "example.com"}, ""},
		"other name":        {&protocol.TLSConfig{CAFile: "ca.pem", ServerName: "harmony.test"}, "not harmony.test"},
		"anything":          {&protocol.TLSConfig{InsecureSkipVerify: true}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tryURL(t, root, protocol.HTTPCheck{URL: server.URL, TLS: test.tls, Expect: protocol.HTTPExpect{Status: 404}})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "session=hunter2")
		w.WriteHeader(http.StatusTeapot)
	}))
	url := server.URL
	checks := map[string]protocol.HTTPCheck{
		"query":    {URL: url, Path: "/x?token=hunter2", Headers: map[string]string{"Authorization": "Bearer hunter2"}},
		"response": {URL: url, Expect: protocol.HTTPExpect{Status: 418, Headers: map[string]string{"Set-Cookie": "session=hunter3"}}},
	}
	for _, up := range []bool{true, false} {
		if !up {
			server.Close()
		}
		for name, check := range checks {
			_, err := tryURL(t, "", check)
			if err == nil {
				t.Fatalf("%s: no error", name)
			}
			if strings.Contains(err.Error(), "hunter") {
				t.Errorf("%s, server up %t: the secret is in %q", name, up, err)
			}
		}
	}
}

func TestWhatTheProxyWouldNotHandOn(t *testing.T) {
	for _, name := range []string{"authorization", "Impersonate-User", "host"} {
		_, err := newHTTPProbe("", protocol.HTTPCheck{Service: "x", Headers: map[string]string{name: "y"}}, nil)
		if err == nil || !strings.Contains(err.Error(), "service proxy") {
			t.Errorf("%s: error %v, want a refusal", name, err)
		}
	}
	checks := []protocol.HTTPCheck{{Service: "x", TLS: &protocol.TLSConfig{}}}
	for _, path := range []string{
		"/a%2Fb", "/../../../api/v1/secrets", "/a/..", "/.", "/%2e%2e/x", "/.%2E/x", "/%252e%252e/x", "/..;x=1/y", `/a\..\b`, "/a%5c..%5Cb",
		"//etc", "/a//b", "/a%3fb=c", "/a%23b", "/a%0d%0aHost:x", "/%zz", "/a%252fb", "/..?x=1",
	} {
		checks = append(checks, protocol.HTTPCheck{Service: "x", Path: path})
	}
	for _, check := range checks {
		if _, err := newHTTPProbe("", check, nil); err == nil || !strings.Contains(err.Error(), "service proxy") {
			t.Errorf("%+v: error %v, want a refusal", check, err)
		}
	}
	for _, path := range []string{"", "/", "/healthz", "/a.b/..c/d..", "/caf%C3%A9/100%25", "/x?next=/../a//b&c=%2f", "/a/?x=.."} {
		check := protocol.HTTPCheck{Service: "x", Path: path, Headers: map[string]string{"X-Test": "y"}}
		if _, err := newHTTPProbe("", check, nil); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestHTTPReferences(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"token": "from a file\n", "body.json": `{"a": 1}`} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SHOP_TOKEN", "opensesame")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "opensesame" || r.Header.Get("X-File") != "from a file" || string(body) != `{"a": 1}` {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	check := protocol.HTTPCheck{URL: server.URL, Method: "POST", BodyFile: "body.json", Headers: map[string]string{"Authorization": "env:SHOP_TOKEN", "X-File": "file:token"}}
	if _, err := tryURL(t, root, check); err != nil {
		t.Error(err)
	}
	for want, wrong := range map[string]protocol.HTTPCheck{
		"the variable NO_TOKEN is not set": {URL: server.URL, Headers: map[string]string{"X": "env:NO_TOKEN"}},
		"headers.X: openat missing":        {URL: server.URL, Headers: map[string]string{"X": "file:missing"}},
		"http.bodyFile: openat missing":    {URL: server.URL, BodyFile: "missing"},
	} {
		if _, err := newHTTPProbe(root, wrong, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// Headers and body go to the host that they are for, and no further.
func TestRedirectsThatAreFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Token") != "" || r.Header.Get("Authorization") != "" {
			t.Errorf("another host got %v", r.Header)
		}
		fmt.Fprint(w, "elsewhere")
	}))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/near":
			http.Redirect(w, r, "/end", http.StatusTemporaryRedirect)
		case "/far":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/far-with-body":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		default:
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "the end, %s, %s", r.Header.Get("X-Token"), body)
		}
	}))
	defer server.Close()
	for name, c := range map[string]struct{ path, body, want, wrong string }{
		"near":          {"/near", "a body", "the end, opensesame, a body", ""},
		"far":           {"/far", "", "elsewhere", ""},
		"far with body": {"/far-with-body", "a body", "", "a redirect would send the body to 127.0.0.1"},
		"in a circle":   {"/round", "", "", "more than 10 redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			check := protocol.HTTPCheck{
				URL: server.URL, Path: c.path, Method: "POST", Body: c.body, FollowRedirects: true,
				Headers: map[string]string{"X-Token": "opensesame", "Authorization": "opensesame"}, Expect: protocol.HTTPExpect{Body: c.want},
			}
			_, err := tryURL(t, "", check)
			if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("error %v, want %q", err, c.wrong)
			}
		})
	}
}

func TestTimeAndCertificate(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) }))
	defer server.Close()
	anyone := &protocol.TLSConfig{InsecureSkipVerify: true}
	left := protocol.Duration(time.Until(server.Certificate().NotAfter))
	for want, expect := range map[string]protocol.HTTPExpect{
		"":                           {Within: protocol.Duration(time.Minute), CertificateValidFor: left - protocol.Duration(time.Hour)},
		"expected 10ms at most":      {Within: protocol.Duration(10 * time.Millisecond)},
		"the certificate is valid u": {CertificateValidFor: left + protocol.Duration(time.Hour)},
	} {
		_, err := tryURL(t, "", protocol.HTTPCheck{URL: server.URL, TLS: anyone, Expect: expect})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
