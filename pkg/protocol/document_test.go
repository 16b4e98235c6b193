package protocol_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestParse(t *testing.T) {
	const v1 = `"apiVersion":"harmony.nationtech.io/v1"`
	tests := []struct {
		name, line string
		kind       protocol.Kind
		known      bool
		app        string
	}{
		{"whole", `{` + v1 + `,"kind":"ImageRef","metadata":{"name":"a","version":"1.0.0"},"spec":{}}`, "ImageRef", true, "a"},
		{"other order", `{"spec":{},"kind":"Event","metadata":{"name":"a"},` + v1 + `}`, "Event", true, "a"},
		{"no metadata", `{` + v1 + `,"kind":"Failure","spec":{}}`, "Failure", true, ""},
		{"null metadata", `{` + v1 + `,"kind":"Failure","metadata":null}`, "Failure", true, ""},
		{"unknown kind", `{` + v1 + `,"kind":"Weather","spec":[1,2]}`, "Weather", false, ""},
		{"unknown apiVersion", `{"apiVersion":"harmony.nationtech.io/v2","kind":"ImageRef","spec":7}`, "ImageRef", false, ""},
		{"unknown fields", `{` + v1 + `,"kind":"Event","metadata":{"name":"a","team":{"x":1}},"sum":"x"}`, "Event", true, "a"},
		{"keys are exact", `{` + v1 + `,"kind":"Event","KIND":"ImageRef","Kind":"ChartRef"}`, "Event", true, ""},
		{"space around", "  {" + v1 + ` , "kind" : "Event" }  `, "Event", true, ""},
		{"escapes", `{` + v1 + `,"kind":"\u0045vent","metadata":{"name":"\u0061"}}`, "Event", true, "a"},
	}
	for _, test := range tests {
		for _, end := range []string{"", "\n", "\r\n"} {
			d, err := protocol.Parse([]byte(test.line + end))
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			if d.Kind != test.kind || d.Known() != test.known || d.Metadata.Name != test.app {
				t.Errorf("%s: kind %s, known %t, name %q", test.name, d.Kind, d.Known(), d.Metadata.Name)
			}
			if string(d.Bytes()) != test.line {
				t.Errorf("%s: the bytes became %q", test.name, d.Bytes())
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	big := `{"apiVersion":"v","kind":"K","spec":"` + strings.Repeat("x", protocol.MaxDocument) + `"}`
	for line, want := range map[string]string{
		"":                                "not a JSON object",
		"null":                            "no apiVersion",
		"[]":                              "not a JSON object",
		`"text"`:                          "not a JSON object",
		`{"apiVersion":"v"}`:              "no kind",
		`{"kind":"K"}`:                    "no apiVersion",
		`{"apiVersion":"v","kind":""}`:    "empty kind",
		`{"apiVersion":null,"kind":"K"}`:  "empty apiVersion",
		`{"apiVersion":"v","kind":7}`:     "document's kind",
		`{"apiVersion":"v","kind":"K"}{}`: "not a JSON object",
		`{"apiVersion":"v","kind":"K"`:    "not a JSON object",
		"{\"apiVersion\":\"v\",\"kind\":\"\xff\"}": "not UTF-8",
		"\ufeff{}": "not a JSON object",
		`{"apiVersion":"v","kind":"K","metadata":[]}`:         "document's metadata",
		`{"apiVersion":"v","kind":"K","metadata":{"name":1}}`: "document's metadata",
		big: "over the limit of 1048576",
	} {
		if _, err := protocol.Parse([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: error %v, want one with %q", line, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"apiVersion":"harmony.nationtech.io/v1","kind":"ImageRef","metadata":{"name":"a"},"spec":{"repository":"a"}}`,
		`{"apiVersion":"v","kind":"K","kind":"L"}`, `null`, `{"apiVersion":{}}`, "{}\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		d, err := protocol.Parse(line)
		if !bytes.Equal(line, before) {
			t.Error("Parse changed its input")
		}
		if err != nil {
			return
		}
		again, err := protocol.Parse(d.Bytes())
		if err != nil || !bytes.Equal(again.Bytes(), d.Bytes()) || again.Kind != d.Kind || again.Metadata != d.Metadata {
			t.Errorf("read again: %+v, error %v", again, err)
		}
		_, _ = protocol.Decode[protocol.AppSpec](d) // must not panic
		_, _ = protocol.Decode[protocol.ImageRef](d)
	})
}

func TestDecode(t *testing.T) {
	parse := func(kind, spec string) protocol.Document {
		t.Helper()
		d, err := protocol.Parse([]byte(`{"apiVersion":"harmony.nationtech.io/v1","kind":"` + kind + `","metadata":{"name":"a","version":"1.0.0"}` + spec + `}`))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	image, err := protocol.Decode[protocol.ImageRef](parse("ImageRef", `,"spec":{"repository":"r","metadata":{"name":"b"},"signed":{"by":"x"}}`))
	if err != nil || image.Repository != "r" || image.FullName() != "r" || image.Metadata != (protocol.Metadata{Name: "a", Version: "1.0.0"}) {
		t.Errorf("%+v, error %v", image, err)
	}
	for name, test := range map[string]struct {
		document protocol.Document
		want     string
	}{
		"other kind": {parse("ChartRef", `,"spec":{}`), "of kind ChartRef, not ImageRef"},
		"no spec":    {parse("ImageRef", ""), `ImageRef of "a" has no spec`},
		"wrong type": {parse("ImageRef", `,"spec":{"repository":7}`), `ImageRef of "a": json`},
		"no object":  {parse("ImageRef", `,"spec":[]`), `ImageRef of "a": json`},
	} {
		if _, err := protocol.Decode[protocol.ImageRef](test.document); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
	}
}

func TestEncodeLimit(t *testing.T) {
	event := protocol.Event{Metadata: protocol.Metadata{Name: "a"}, Message: strings.Repeat("x", protocol.MaxDocument)}
	if _, err := protocol.Encode(event); err == nil || !strings.Contains(err.Error(), `encode Event of "a": `) {
		t.Errorf("error %v, want the limit", err)
	}
	if _, err := protocol.NewDocument("Weather", protocol.Metadata{}, func() {}); err == nil {
		t.Error("a spec that is no JSON is no error")
	}
}

func TestNewDocumentOfAnUnknownKind(t *testing.T) {
	d, err := protocol.NewDocument("Weather", protocol.Metadata{Name: "a"}, map[string]any{"html": "<b>&"})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"apiVersion":"harmony.nationtech.io/v1","kind":"Weather","metadata":{"name":"a"},"spec":{"html":"<b>&"}}`
	if string(d.Bytes()) != want || d.Known() || !json.Valid(d.Spec) {
		t.Errorf("%s, known %t", d.Bytes(), d.Known())
	}
}
