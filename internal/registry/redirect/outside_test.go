package redirect_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/registry/redirect"
)

// Neither a name nor a redirect leads to this machine; a proxy on it may.
func TestOutside(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	get := func(address string, t *http.Transport, except ...string) error {
		client := http.Client{Transport: redirect.Outside(t, except...)}
		response, err := client.Get(address)
		if err == nil {
			err = response.Body.Close()
		}
		return err
	}
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0"} {
		var refused *redirect.Refused
		if err := get("http://"+host+port, &http.Transport{}); !errors.As(err, &refused) || asked > 0 {
			t.Errorf("%s: got %v, asked %d times", host, err, asked)
		}
	}
	proxy, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := get("http://plugins.example.com/x", &http.Transport{Proxy: http.ProxyURL(proxy)}); err != nil || asked != 1 {
		t.Errorf("by a proxy: %v, asked %d times", err, asked)
	}
	if err := get(server.URL, &http.Transport{}, "127.0.0.1"); err != nil || asked != 2 {
		t.Errorf("an exception: %v, asked %d times", err, asked)
	}
}
