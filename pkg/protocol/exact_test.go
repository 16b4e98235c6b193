package protocol_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func parsed(t testing.TB, kind protocol.Kind, spec string) (protocol.Document, error) {
	t.Helper()
	return protocol.Parse(fmt.Appendf(nil, `{"apiVersion":"harmony.nationtech.io/v1","kind":%q,"metadata":{"name":"a"},"spec":%s}`, kind, spec))
}

// Every reader takes the same fields: only the exact name is a field's.
func TestFieldNamesAreExact(t *testing.T) {
	for name, spec := range map[string]string{
		"another field only":  `{"REPOSITORY":"evil"}`,
		"after the field":     `{"repository":"","Repository":"evil"}`,
		"escaped":             `{"\u0052epository":"evil"}`,
		"a letter of its own": `{"repo\u017fitory":"evil","repositor\u0059":"evil"}`,
		"white space":         ` { "REPOSITORY" : "evil" , "tag" : "1.0" } `,
	} {
		d, err := parsed(t, protocol.KindImageRef, spec)
		if err != nil {
			t.Fatal(name, err)
		}
		image, err := protocol.Decode[protocol.ImageRef](d)
		if err != nil || image.Repository != "" {
			t.Errorf("%s: %+v, %v", name, image, err)
		}
		if !strings.Contains(string(d.Bytes()), spec) {
			t.Errorf("%s: the document is not as it was: %s", name, d.Bytes())
		}
	}
	d, err := parsed(t, protocol.KindAppSpec, `{"IMAGE":{"repository":"x"},"image":{"Repository":"x","dockerfile":{"PATH":"x","args":{"A":"1","a":"2"}}},
		"targets":{"T":{"VALUES":{"x":1}},"t":{"values":{"Key":1,"key":{"K":[{"x":1,"X":2}]}}}},"smoke":[{"NAME":"x","name":"ready","rollout":{}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	app, err := protocol.Decode[protocol.AppSpec](d)
	want := map[string]any{"Key": 1.0, "key": map[string]any{"K": []any{map[string]any{"x": 1.0, "X": 2.0}}}}
	if err != nil || app.Image.Repository != "" || app.Image.Dockerfile.Path != "" || len(app.Image.Dockerfile.Args) != 2 ||
		len(app.Targets["T"].Values) != 0 || !reflect.DeepEqual(app.Targets["t"].Values, want) || app.Smoke[0].Name != "ready" {
		t.Errorf("%+v, %v", app, err)
	}
}

func TestDuplicateFields(t *testing.T) {
	for kind, spec := range map[protocol.Kind]string{
		protocol.KindAppSpec:  `{"targets":{"a":{"values":{"x":{"y":1,"y":2}}}}}`,
		protocol.KindTopology: `{"targets":{"a":{},"\u0061":{}}}`,
		protocol.KindPipeline: `{"pipeline":[{"deploy":"a","deploy":"b"}]}`,
		protocol.KindFailure:  `{"code":1,"stage":"x","code":0}`,
	} {
		if _, err := parsed(t, kind, spec); err == nil || !strings.Contains(err.Error(), "duplicate field") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	// A document that was not parsed, but made by hand.
	d := protocol.Document{Kind: protocol.KindFailure, Spec: json.RawMessage(`{"code":1,"code":0}`)}
	if _, err := protocol.Decode[protocol.Failure](d); err == nil {
		t.Error("decoded")
	}
}

// FuzzExact holds that what was decoded reads the same when it is encoded, and
// that no JSON is too odd.
func FuzzExact(f *testing.F) {
	for _, seed := range []string{`{"repository":"a","platforms":["x",{}],"tag":null}`, ` { "a" : [ [ ] , { } , -1.5e3 ] } `, `"\"{"`, `{"\\":1,"\u005c\"":2}`, `7`, `[`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		d, err := parsed(t, protocol.KindImageRef, spec)
		if err != nil || len(d.Spec) == 0 {
			return
		}
		image, err := protocol.Decode[protocol.ImageRef](d)
		if err != nil {
			return
		}
		again, err := protocol.Encode(image)
		if err != nil {
			return // too long
		}
		back, err := protocol.Decode[protocol.ImageRef](again)
		if err != nil {
			t.Fatal(err)
		}
		if last, err := protocol.Encode(back); err != nil || string(last.Bytes()) != string(again.Bytes()) {
			t.Errorf("%s became %s, %v", again.Bytes(), last.Bytes(), err)
		}
	})
}
