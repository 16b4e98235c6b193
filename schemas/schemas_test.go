package schemas_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/plugins/index"
	"github.com/nationtech/harmony/pkg/protocol"
	"github.com/nationtech/harmony/schemas"
)

// samples reads the golden documents of package protocol.
func samples(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("../pkg/protocol/testdata/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no sample documents (%v)", err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var line bytes.Buffer
		if err := json.Compact(&line, text); err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = line.Bytes()
	}
	return all
}

func TestSamplesAreValid(t *testing.T) {
	seen := map[string]bool{"Document.json": true, "harmony.yaml.json": true, "Plugin.json": true}
	for name, line := range samples(t) {
		if err := schemas.Validate(line); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		document, err := protocol.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		seen[string(document.Kind)+".json"] = true
	}
	names, err := fs.Glob(schemas.Files, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !seen[name] {
			t.Errorf("no sample document of schema %s", name)
		}
	}
}

// TestEveryFieldIsTyped breaks every field of every sample, one at a time: a
// schema that lets one pass says nothing about it.
func TestEveryFieldIsTyped(t *testing.T) {
	for name, line := range samples(t) {
		var document map[string]any
		if err := json.Unmarshal(line, &document); err != nil {
			t.Fatal(err)
		}
		walk(document, "", func(path string, broken func(any) func()) {
			if free(path) {
				return
			}
			undo := broken([]any{map[string]any{"no": "field is of this type"}})
			defer undo()
			text, err := json.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			kind, _ := document["kind"].(string)
			if err := schemas.ValidateAs(schemaOf(kind, name), text); err == nil {
				t.Errorf("%s: any value passes at %s", name, path)
			}
		})
	}
}

// schemaOf is the schema that a sample is of, whatever became of its kind.
func schemaOf(kind, name string) string {
	for _, known := range []string{"AppSpec", "Topology", "ImageRef", "ChartRef", "DeployResult", "SmokeReport", "Failure", "PluginInfo", "Event", "BuildContext", "Pipeline", "MonitoringResult", "CheckRequest", "CheckAnswer"} {
		if strings.HasPrefix(name, strings.ToLower(known)) {
			return known + ".json"
		}
	}
	return kind + ".json"
}

// free reports the fields that take any value, and the lists of objects that
// need no field.
func free(path string) bool {
	return strings.HasSuffix(path, ".tolerations") || strings.HasSuffix(path, ".envFrom") ||
		strings.Contains(path, ".values.") || strings.Contains(path, ".settings.") || strings.HasSuffix(path, ".equals") ||
		strings.Contains(path, ".smoke[].sql") // a kind of check that is not built in
}

// walk visits every field of a value; the visitor can replace it, and undo that.
func walk(value any, path string, visit func(path string, replace func(any) (undo func()))) {
	switch v := value.(type) {
	case map[string]any:
		for key, old := range v {
			walk(old, path+"."+key, visit)
			visit(path+"."+key, func(other any) func() {
				v[key] = other
				return func() { v[key] = old }
			})
		}
	case []any:
		for _, item := range v {
			walk(item, path+"[]", visit)
		}
	}
}

func TestStreamsAreLenient(t *testing.T) {
	const newer = `{"apiVersion":"harmony.nationtech.io/v1","kind":"SmokeReport","metadata":{"name":"a","team":"x"},` +
		`"spec":{"target":"staging","passed":true,"checks":[],"trace":{"id":1}},"signature":"y"}`
	for name, line := range map[string]string{
		"unknown fields":     newer,
		"unknown kind":       `{"apiVersion":"harmony.nationtech.io/v1","kind":"Weather","spec":[1]}`,
		"unknown apiVersion": `{"apiVersion":"example.com/v7","kind":"AppSpec","metadata":{"name":"a"},"spec":"anything"}`,
	} {
		if err := schemas.Validate([]byte(line)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStreamErrors(t *testing.T) {
	for name, test := range map[string]struct{ line, want string }{
		"no JSON":        {`{`, "not a JSON object"},
		"no kind":        {`{"apiVersion":"harmony.nationtech.io/v1"}`, "no kind"},
		"no spec":        {`{"apiVersion":"harmony.nationtech.io/v1","kind":"Event","metadata":{"name":"a"}}`, "spec"},
		"null list":      {`{"apiVersion":"harmony.nationtech.io/v1","kind":"SmokeReport","metadata":{"name":"a"},"spec":{"target":"s","passed":true,"checks":null}}`, "checks"},
		"digest":         {`{"apiVersion":"harmony.nationtech.io/v1","kind":"ImageRef","metadata":{"name":"a"},"spec":{"repository":"a","digest":"sha256:abc"}}`, "digest"},
		"code":           {`{"apiVersion":"harmony.nationtech.io/v1","kind":"Failure","metadata":{"name":"a"},"spec":{"stage":"s","code":0,"message":"m"}}`, "code"},
		"metadata's own": {`{"apiVersion":"harmony.nationtech.io/v1","kind":"Weather","metadata":{"name":7}}`, "metadata"},
	} {
		if err := schemas.Validate([]byte(test.line)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
	}
}

func TestConfiguration(t *testing.T) {
	const app = `{"apiVersion":"harmony.nationtech.io/v1","kind":"AppSpec","metadata":{"name":"a"},"spec":{` +
		`"image":{"buildable":{"type":"go"}},"chart":{"path":"chart","image":{"value":"image"}},"smoke":[%s]}}`
	for name, test := range map[string]struct {
		check string
		valid bool
	}{
		"rollout":           {`{"name":"r","rollout":{}}`, true},
		"http":              {`{"name":"h","http":{"service":"a","port":8080,"path":"/"},"timeout":"1m30s"}`, true},
		"unknown field":     {`{"name":"r","rollout":{},"retries":3}`, false},
		"two kinds":         {`{"name":"r","rollout":{},"tcp":{"service":"a"}}`, false},
		"no kind":           {`{"name":"r"}`, false},
		"duration":          {`{"name":"r","rollout":{},"timeout":"90 seconds"}`, false},
		"number":            {`{"name":"r","rollout":{},"timeout":90}`, false},
		"service and url":   {`{"name":"h","http":{"service":"a","url":"http://b"}}`, false},
		"port out of range": {`{"name":"h","tcp":{"service":"a","port":70000}}`, false},
	} {
		err := schemas.ValidateAs("harmony.yaml.json", []byte(strings.Replace(app, "%s", test.check, 1)))
		if (err == nil) != test.valid {
			t.Errorf("%s: error %v, want valid %t", name, err, test.valid)
		}
	}
	for name, line := range samples(t) {
		document, err := protocol.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		err = schemas.ValidateAs("harmony.yaml.json", line)
		input := slices.Contains([]protocol.Kind{protocol.KindAppSpec, protocol.KindTopology, protocol.KindPipeline}, document.Kind)
		if (err == nil) != input {
			t.Errorf("%s in a harmony.yaml: error %v, want valid %t", name, err, input)
		}
	}
}

// The manifests of the suite's own plugins are of the schema, and nothing passes
// it that harmony itself refuses.
func TestPluginManifests(t *testing.T) {
	files, err := filepath.Glob("../plugin-index/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests (%v)", err)
	}
	asJSON := func(text string) []byte {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schemas.ValidateAs("Plugin.json", asJSON(string(text))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, change := range [][2]string{
			{"kind: Plugin", "kind: Plugins"}, {"  version: ", "  version: v"}, {"  name: ", "  name: ../"}, {"  homepage: https", "  homepage: http"},
			{"shortDescription", "sortDescription"}, {"      os: ", "      os: ../"}, {"      uri: https", "      uri: ftp"}, {"      sha256: ", "      sha512: "},
			{"      size: ", "      size: -"}, {"    min: 1", "    min: 0"}, {"  protocol:", "  proto:"},
		} {
			changed := strings.ReplaceAll(string(text), strings.TrimPrefix(change[0], "      "), strings.TrimPrefix(change[1], "      "))
			if changed == string(text) {
				t.Fatalf("%s has no %q", file, change[0])
			}
			if err := schemas.ValidateAs("Plugin.json", asJSON(changed)); err == nil {
				t.Errorf("%s: the schema lets %q pass", file, change[1])
			}
			if _, err := index.Parse(file, []byte(changed)); err == nil {
				t.Errorf("%s: harmony lets %q pass", file, change[1])
			}
		}
	}
}
