package auth

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Plain http is for the loopback, and for what the topology allows.
func TestGuard(t *testing.T) {
	tests := []struct {
		host     string
		insecure bool
		allowed  bool
	}{
		{"localhost:5001", false, true}, {"127.0.0.1:5001", false, true}, {"[::1]:5001", false, true}, {"localhost", false, true},
		{"10.0.0.1:5000", false, false}, {"192.168.1.2", false, false}, {"registry.local", false, false},
		{"localhost.example.com:5000", false, false}, {"10.0.0.1:5000", true, true},
	}
	for _, test := range tests {
		g := &Guard{Host: test.host, Insecure: test.insecure, Inner: answers{}}
		for _, scheme := range []string{"http", "https"} {
			request, err := http.NewRequest(http.MethodGet, scheme+"://"+test.host+"/v2/x/tags/list", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := g.RoundTrip(request)
			var refused *PlainRefused
			if want := test.allowed || scheme == "https"; (response != nil) != want || errors.As(err, &refused) == want {
				t.Errorf("%s://%s, insecure %t: got %v", scheme, test.host, test.insecure, err)
			}
			if want := test.allowed && scheme == "http"; g.Plain() != want {
				t.Errorf("%s://%s: plain is %t", scheme, test.host, g.Plain())
			}
		}
	}
}

// On the loopback the ping goes by plain http, and by TLS where that is what is
// spoken; no other request changes its way.
func TestGuardPings(t *testing.T) {
	var asked []string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.WriteHeader(http.StatusUnauthorized)
	})
	plain, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs plain requests
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	for _, test := range []struct {
		server *httptest.Server
		path   string
		scheme string // of the answer; none when empty
	}{
		{plain, "/v2/", "http"}, {secure, "/v2/", "https"}, {secure, "/v2/x/tags/list", "https"}, {plain, "/v2/x/tags/list", ""},
	} {
		asked = nil
		host := test.server.Listener.Addr().String()
		g := &Guard{Host: host, Inner: secure.Client().Transport}
		response, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, "https://"+host+test.path, nil))
		if test.scheme == "" {
			if err == nil {
				t.Errorf("%s: plain http in the place of https", test.path)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Request.URL.Scheme; got != test.scheme || len(asked) != 1 || g.Plain() != (got == "http") {
			t.Errorf("%s %s: answered over %s after %d requests, plain %t", test.scheme, test.path, got, len(asked), g.Plain())
		}
	}
}

// answers says yes to everything.
type answers struct{}

func (answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}
