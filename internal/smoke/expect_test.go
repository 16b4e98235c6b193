package smoke

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestJSONExpectations(t *testing.T) {
	const body = `{"status":"ok","count":3,"big":9007199254740993,"ratio":0.5,"none":null,"on":true,"empty":[],
		"devices":[{"id":"a","n":1},{"id":"b","n":2}],"nested":{"x":{"y":[1,2.0]}},"dotted.key":"z"}`
	tests := []struct {
		path   string
		equals any
		want   string // of the error; none when empty
	}{
		{"{.status}", "ok", ""},
		{".status", "ok", ""},
		{"status", "ok", ""},
		{"{.status}", "down", `JSON {.status} is "ok", expected "down"`},
		{"{.status}", nil, ""},
		{"{.count}", 3, ""},
		{"{.count}", 3.0, ""},
		{"{.count}", float64(4), "is 3, expected 4"},
		{"{.count}", "3", `is 3, expected "3"`},
		{"{.big}", float64(9007199254740993), ""},
		{"{.ratio}", 0.5, ""},
		{"{.on}", true, ""},
		{"{.on}", "true", `is true, expected "true"`},
		{"{.devices[0].id}", "a", ""},
		{"{.devices[-1:].id}", "b", ""},
		{"{.devices[*].id}", []any{"a", "b"}, ""},
		{"{.devices[*].id}", []any{"b", "a"}, `is ["a","b"], expected ["b","a"]`},
		{"{.devices[*].id}", []any{"a"}, `is ["a","b"], expected ["a"]`},
		{"{.devices[*].id}", []any{"a", "b", "c"}, `is ["a","b"], expected ["a","b","c"]`},
		{"{.devices[0]}", map[string]any{"n": 1, "id": "a", "x": 1}, "expected"},
		{"{.devices[*].id}", "a", `is ["a","b"], expected "a"`},
		{"{.devices[?(@.n==2)].id}", "b", ""},
		{"{.devices[?(@.n==3)].id}", nil, "matches nothing"},
		{"{.devices[0]}", map[string]any{"n": 1, "id": "a"}, ""},
		{"{.devices[0]}", map[string]any{"n": 1}, "expected"},
		{"{.devices[7].id}", nil, "out of bounds"},
		{"{.nested.x.y}", []any{1, 2}, ""},
		{"{.nested.x}", map[string]any{"y": []any{1, 2}}, ""},
		{`{.dotted\.key}`, "z", ""},
		{"{.missing}", nil, "missing is not found"},
		{"{.none}", "x", `is null, expected "x"`},
		{"{.empty[*]}", nil, "matches nothing"},
	}
	for _, test := range tests {
		e, err := newExpectation(protocol.HTTPExpect{JSON: []protocol.JSONExpect{{Path: test.path, Equals: test.equals}}})
		if err != nil {
			t.Errorf("%s: %v", test.path, err)
			continue
		}
		err = e.match(answer{status: 200, body: []byte(body)})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s equals %v: error %v, want %q", test.path, test.equals, err, test.want)
		}
	}
}

func TestExpectations(t *testing.T) {
	header := http.Header{"Content-Type": {"text/plain"}, "Vary": {"a", "b"}, "X-Api-Key": {"hunter2"}}
	tests := []struct {
		name   string
		expect protocol.HTTPExpect
		answer answer
		want   string
	}{
		{"any good status", protocol.HTTPExpect{}, answer{status: 399}, ""},
		{"any bad status", protocol.HTTPExpect{}, answer{status: 400}, "status 400, expected 200 to 399"},
		{"an early status", protocol.HTTPExpect{}, answer{status: 199}, "status 199"},
		{"this status", protocol.HTTPExpect{Status: 404}, answer{status: 404}, ""},
		{"other status", protocol.HTTPExpect{Status: 200}, answer{status: 204, body: []byte("because")}, "status 204, expected 200; body: because"},
		{"header", protocol.HTTPExpect{Headers: map[string]string{"content-type": "text/plain"}}, answer{status: 200, header: header}, ""},
		{"header of a list", protocol.HTTPExpect{Headers: map[string]string{"Vary": "b"}}, answer{status: 200, header: header}, ""},
		{"header as a list", protocol.HTTPExpect{Headers: map[string]string{"Vary": "a, b"}}, answer{status: 200, header: header}, ""},
		{"other header", protocol.HTTPExpect{Headers: map[string]string{"Content-Type": "x"}}, answer{status: 200, header: header}, `header Content-Type is "text/plain", expected "x"`},
		{"secret header", protocol.HTTPExpect{Headers: map[string]string{"X-Api-Key": "x"}}, answer{status: 200, header: header}, "(not shown)"},
		{"no header", protocol.HTTPExpect{Headers: map[string]string{"ETag": "x"}}, answer{status: 200, header: header}, "no header ETag"},
		{"body", protocol.HTTPExpect{Body: "lo wo"}, answer{status: 200, body: []byte("hello world")}, ""},
		{"other body", protocol.HTTPExpect{Body: "bye"}, answer{status: 200, body: []byte("hello")}, `the body does not contain "bye"; body: hello`},
		{"empty body", protocol.HTTPExpect{Body: "bye"}, answer{status: 200}, `the body does not contain "bye"`},
		{"no JSON", protocol.HTTPExpect{JSON: []protocol.JSONExpect{{Path: "{.a}"}}}, answer{status: 200, body: []byte("<html>")}, "the body is not JSON: invalid character"},
		{"two values", protocol.HTTPExpect{JSON: []protocol.JSONExpect{{Path: "{.a}"}}}, answer{status: 200, body: []byte(`{"a":1} {}`)}, "after top-level value"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e, err := newExpectation(test.expect)
			if err != nil {
				t.Fatal(err)
			}
			err = e.match(test.answer)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func FuzzJSONPath(f *testing.F) {
	for _, path := range []string{"{.a}", "a.b", "{.a[0:2]}", "{..a}", "{.a[?(@.b>1)].c}", "{range .a[*]}{.b}{end}", "{.a[-1:]}"} {
		f.Add(path, `{"a":[{"b":2,"c":[1]},{"b":"x"}]}`)
	}
	f.Fuzz(func(t *testing.T, path, body string) {
		p, err := newJSONPath(protocol.JSONExpect{Path: path, Equals: "x"})
		if err != nil {
			return
		}
		value, err := parseJSON([]byte(body))
		if err != nil {
			return
		}
		_ = p.match(value) // whatever it says, it must not panic
	})
}
