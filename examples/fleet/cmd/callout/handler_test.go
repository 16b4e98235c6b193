package main

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const rules = `
# the demo fleet
fleet-agent-*  s3same
gate-1         g4te
`

func TestAdmit(t *testing.T) {
	tests := []struct {
		name, body string
		status     int
		want       string
	}{
		{"glob", `{"device":"fleet-agent-7","token":"s3same"}`, 200, `"allowed":true`},
		{"exact name", `{"device":"gate-1","token":"g4te"}`, 200, `"allowed":true`},
		{"token of another device", `{"device":"gate-1","token":"s3same"}`, 200, `{"allowed":false,"reason":"the token is not good`},
		{"unknown device", `{"device":"gate-2","token":"g4te"}`, 200, `{"allowed":false,"reason":"no rule`},
		{"token as a glob", `{"device":"fleet-agent-7","token":"*"}`, 200, `"allowed":false`},
		{"no token", `{"device":"gate-1"}`, 400, "both needed"},
		{"no JSON", `device=gate-1`, 400, "not the JSON"},
	}
	handler := newHandler(slog.New(slog.DiscardHandler), "1.0.0", func() (tokens, error) { return parseTokens(rules) })
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := post(handler, test.body)
			if got.Code != test.status || !strings.Contains(got.Body.String(), test.want) {
				t.Errorf("got %d %s, want %d with %s", got.Code, got.Body, test.status, test.want)
			}
		})
	}
}

func TestUnreadableTokensAdmitNobody(t *testing.T) {
	handler := newHandler(slog.New(slog.DiscardHandler), "1.0.0", func() (tokens, error) {
		return nil, errors.New("permission denied")
	})
	if got := post(handler, `{"device":"gate-1","token":"g4te"}`); got.Code != http.StatusServiceUnavailable {
		t.Errorf("/admit: got %d", got.Code)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("/readyz: got %d", w.Code)
	}
}

func TestParseTokensTellsTheLineAndNoToken(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "no rule"},
		{"# only a comment\n", "no rule"},
		{"gate-1 g4te\nhush-hush", "line 2"},
		{"gate-1 hush-hush more", "line 1"},
		{"gate-[ hush-hush", "syntax error in pattern"},
	}
	for _, test := range tests {
		_, err := parseTokens(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got error %v, want one with %q", test.text, err, test.want)
			continue
		}
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: the error quotes the token: %v", test.text, err)
		}
	}
}

func FuzzParseTokens(f *testing.F) {
	f.Add(rules)
	f.Add("[ x")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseTokens(text)
		if (err == nil) != (len(parsed) > 0) {
			t.Errorf("%d rules with error %v", len(parsed), err)
		}
		if ok, _ := parsed.admit("any", ""); ok {
			t.Error("an empty token was admitted")
		}
	})
}

func post(handler http.Handler, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/admit", strings.NewReader(body)))
	return w
}
