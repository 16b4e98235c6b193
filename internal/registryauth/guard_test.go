package registryauth

import (
	"errors"
	"net/http"
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
			request, err := http.NewRequest(http.MethodGet, scheme+"://"+test.host+"/v2/", nil)
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

// answers says yes to everything.
type answers struct{}

func (answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}
