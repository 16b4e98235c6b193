package pack

import (
	"crypto/rand"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: %NAME%}\nspec: {containers: [{name: x, image: \"{{ .Values.image }}\"}]}\n"

// changed is the base chart with other files.
func changed(files ...string) map[string]string {
	made := base()
	for i := 0; i < len(files); i += 2 {
		made[files[i]] = files[i+1]
	}
	return made
}

func TestDependencies(t *testing.T) {
	meta := base()["Chart.yaml"] + "dependencies: [{name: redis, version: ^1.2.0, repository: 'https://example.com'}]\n"
	redis := func(v string) string { return "apiVersion: v2\nname: redis\nversion: " + v + "\n" }
	lock := func(name, v string) string {
		return "dependencies: [{name: " + name + ", version: " + v + ", repository: 'https://example.com'}]\ndigest: sha256:0\ngenerated: 2026-01-01T00:00:00Z\n"
	}
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"vendored", changed("Chart.yaml", meta, "charts/redis/Chart.yaml", redis("1.3.0")), ""},
		{"vendored archive, locked", changed("Chart.yaml", meta, "charts/redis-1.3.0.tgz", tgz(t, entry("redis/Chart.yaml", redis("1.3.0"))), "Chart.lock", lock("redis", "1.3.0")), ""},
		{"missing", changed("Chart.yaml", meta), "dependency redis ^1.2.0 of Chart.yaml is missing in charts/"},
		{"out of range", changed("Chart.yaml", meta, "charts/redis/Chart.yaml", redis("2.0.0")), "dependency redis ^1.2.0 of Chart.yaml: charts/ has version 2.0.0"},
		{"other than locked", changed("Chart.yaml", meta, "charts/redis/Chart.yaml", redis("1.3.0"), "Chart.lock", lock("redis", "1.2.9")), "dependency redis ^1.2.0: Chart.lock has version 1.2.9, charts/ has 1.3.0"},
		{"not locked", changed("Chart.yaml", meta, "charts/redis/Chart.yaml", redis("1.3.0"), "Chart.lock", lock("other", "1.3.0")), "dependency redis ^1.2.0 of Chart.yaml is not in Chart.lock"},
		{"no range", changed("Chart.yaml", strings.Replace(meta, "^1.2.0", "one", 1), "charts/redis/Chart.yaml", redis("1.3.0")), `Chart.yaml: line 6: dependency version "one" is invalid`},
		{"name that climbs", changed("Chart.yaml", strings.Replace(meta, "redis", "../redis", 1)), `Chart.yaml: line 6: dependency name "../redis" is invalid`},
		{"type of a field", changed("Chart.yaml", base()["Chart.yaml"]+"keywords: 7\n"), "Chart.yaml: line 6: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := pack(t, test.files, protocol.ChartImage{Value: "image"})
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, test.want)
			if strings.Contains(test.want, "charts/") && !strings.Contains(protocol.HintOf(err), "helm dependency build") {
				t.Errorf("hint %q does not say what to do", protocol.HintOf(err))
			}
		})
	}
}

func TestSchema(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.json")
	if err := os.WriteFile(secret, []byte(`{"not valid": `), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, schema string
		target       map[string]any
		want         string
	}{
		{"holds", `{"properties": {"replicas": {"type": "integer"}}, "required": ["image"]}`, nil, ""},
		{"the image is written before", `{"properties": {"image": {"pattern": "@sha256:"}}}`, nil, ""},
		{"defaults", `{"properties": {"replicas": {"type": "string"}}}`, nil, "with the default values: replicas: got number, want string (values.schema.json)"},
		{"target", `{"properties": {"replicas": {"maximum": 3}}}`, map[string]any{"replicas": 4}, `with the values of target "staging": replicas: maximum: got 4, want 3`},
		{"nested", `{"properties": {"a": {"properties": {"b": {"type": "boolean"}}}}}`, map[string]any{"a": map[string]any{"b": "x"}}, `a.b: got string, want boolean`},
		{"the target gives what is required", `{"required": ["host"]}`, map[string]any{"host": "a"}, ""},
		{"nobody gives what is required", `{"required": ["host"]}`, map[string]any{"other": "a"}, `target "staging": values: missing property 'host'`},
		{"reference within", `{"$defs": {"n": {"type": "integer"}}, "properties": {"replicas": {"$ref": "#/$defs/n"}}}`, nil, ""},
		{"draft 7", `{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"replicas": {"type": "integer"}}}`, nil, ""},
		{"reference to a file", `{"$ref": "file://` + secret + `"}`, nil, "values.schema.json: $ref to another document (file://" + secret + ") is not followed"},
		{"reference to a device", `{"properties": {"a": {"$ref": "file:///dev/zero"}}}`, nil, "(file:///dev/zero) is not followed"},
		{"reference to a relative file", `{"$ref": "other.json"}`, nil, "is not followed"},
		{"reference under another id", `{"$id": "file:///dev/", "$ref": "zero"}`, nil, "is not followed"},
		{"reference to a URL", `{"$ref": "http://127.0.0.1:1/x"}`, nil, "(http://127.0.0.1:1/x) is not followed"},
		{"reference to a URN", `{"$ref": "urn:example:x"}`, nil, "(urn:example:x) is not followed"},
		{"no schema", `{"type": "nothing"}`, nil, "values.schema.json: "},
		{"no JSON", "{\n\n\"a\": }", nil, "values.schema.json: line 3: is not JSON"},
	}
	for _, test := range tests {
		for _, in := range []string{"", "charts/sub/"} {
			t.Run(in+test.name, func(t *testing.T) {
				files := changed(in+"values.schema.json", test.schema)
				want := strings.Replace(test.want, "values.schema.json", in+"values.schema.json", 1)
				spec, over := protocol.AppSpec{}, test.target
				if in != "" {
					files["charts/sub/Chart.yaml"] = subchart
					files["values.yaml"] += "sub: {image: 'x@sha256:0', replicas: 1}\n"
					want = strings.NewReplacer("values: replicas", "values: sub: replicas", `"staging": `, `"staging": sub: `).Replace(want)
					over = map[string]any{"sub": test.target}
				}
				root := t.TempDir()
				write(t, filepath.Join(root, "chart"), files)
				spec = app(root, protocol.ChartImage{Value: "image"})
				if test.target != nil {
					spec.Targets = map[string]protocol.TargetValues{"staging": {Values: over}}
				}
				_, err := Pack(t.Context(), spec, image())
				if test.want == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				refused(t, err, want)
			})
		}
	}
}

func TestWhatIsRendered(t *testing.T) {
	named := func(name string) string { return strings.Replace(pod, "%NAME%", name, 1) }
	random := make([]byte, 700<<10)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	const file = "templates/deployment.yaml"
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a pod", changed(file, named("a")), ""},
		{"an init container", changed(file, strings.Replace(named("a"), "containers", "initContainers", 1)), ""},
		{"a cron job", changed(file, "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{image: \"{{ .Values.image }}\"}]}}}}}\n"), ""},
		{"a custom resource", changed(file, "apiVersion: example.com/v1\nkind: Runner\nmetadata: {name: a}\nspec: {image: \"{{ .Values.image }}\"}\n"), ""},
		{"a list", changed(file, "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{image: \"{{ .Values.image }}\"}]}}\n"), ""},
		{"the image only in a config map", changed(file, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {containers: \"{{ .Values.image }}\"}\n"), "there are no containers"},
		{"the image not used", changed(file, strings.Replace(named("a"), "{{ .Values.image }}", "nginx:1", 1)), "which is in .Values.image: the images are nginx:1 in pod/a (templates/deployment.yaml)"},
		{"the image without its digest", changed(file, strings.Replace(named("a"), "{{ .Values.image }}", "localhost:5001/fleet/operator:1.4.0", 1)), "no container takes localhost:5001/fleet/operator:1.4.0@sha256:"},
		{"the digest of another name", changed(file, strings.Replace(named("a"), "{{ .Values.image }}", "other/operator@"+digest, 1)), "no container takes localhost:5001/"},
		{"name with capitals", changed(file, named("Web")), `templates/deployment.yaml: pod/Web: name "Web": a lowercase RFC 1123 subdomain`},
		{"no name", changed(file, named("")), "metadata.name must be a string, not <nil>"},
		{"name is a number", changed(file, named("7")), "metadata.name must be a string, not 7"},
		{"long name of a service", changed("templates/s.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: "+strings.Repeat("a", 64)+"}\n"), "must be no more than 63"},
		{"role with a colon", changed("templates/s.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'a:b'}\n"), ""},
		{"label value", changed("templates/_labels.tpl", `{{ define "labels" }}version: {{ .Chart.Version }}{{ end }}`), `metadata.labels: version: "1.4.0+build.7": a valid label must be`},
		{"label is a number", changed("templates/_labels.tpl", `{{ define "labels" }}version: 1.5{{ end }}`), "metadata.labels: version is 1.5, not a string: quote it"},
		{"label key", changed("templates/_labels.tpl", `{{ define "labels" }}a/b/c: x{{ end }}`), `metadata.labels: key "a/b/c":`},
		{"label of a pod template", changed("templates/d.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {metadata: {labels: {a: -}}}}\n"), `spec.template.metadata.labels: a: "-"`},
		{"selector", changed("templates/d.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {selector: {matchLabels: {a: true}}}\n"), "spec.selector.matchLabels: a is true, not a string"},
		{"twice", changed("templates/d.yaml", strings.Replace(named("x"), "v1\n", "v1 \n", 1)), "pod/x is made by templates/d.yaml too"},
		{"no kind", changed("templates/d.yaml", "a: 1\n"), "has no kind or no apiVersion"},
		{"no YAML", changed("templates/d.yaml", "apiVersion: v1\nkind: Pod\n a: [{{ .Values.replicas }}\n"), `templates/d.yaml renders to invalid YAML: error converting YAML to JSON: yaml: line 3`},
		{"notes and empty templates", changed("templates/NOTES.txt", "no: [yaml\n", "templates/none.yaml", "{{ if false }}x{{ end }}\n---\n# nothing\n"), ""},
		{"a function that is none", changed("templates/d.yaml", "\n{{ nothing }}\n"), "templates/d.yaml:2"},
		{"a nil pointer", changed("templates/d.yaml", "\n\n{{ .Values.a.b }}\n"), "templates/d.yaml:3:10"},
		{"fail", changed("templates/d.yaml", "{{ fail \"no way\" }}"), "execution error at (templates/d.yaml:1:3): no way"},
		{"endless recursion", changed("templates/_labels.tpl", `{{ define "labels" }}{{ include "labels" . }}{{ end }}`), "nested reference name: labels"},
		{"release too large", changed("files/data", hex.EncodeToString(random)), "bytes in the cluster, and a Secret holds under 1048576; the largest part is files/data with 1433600"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := pack(t, test.files, protocol.ChartImage{Value: "image"})
			if test.want != "" {
				refused(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// Each target's values are looked at, files and all.
func TestTargetsAreRendered(t *testing.T) {
	files := changed("templates/d.yaml", `{{ required "host is required" .Values.host }}: {{ "" }}`, "good.yaml", "host: '# a'\n", "twice.yaml", "a: 1\na: 2\n")
	good := protocol.TargetValues{ValuesFiles: []string{"good.yaml"}}
	tests := []struct {
		name    string
		targets map[string]protocol.TargetValues
		want    string
	}{
		{"the target gives it", map[string]protocol.TargetValues{"a": good}, ""},
		{"no target", nil, "with the default values: execution error at (templates/d.yaml:1:3): host is required"},
		{"one does not", map[string]protocol.TargetValues{"a": good, "b": {}}, `with the values of target "b": execution error`},
		{"one has another image", map[string]protocol.TargetValues{"a": {ValuesFiles: []string{"good.yaml"}, Values: map[string]any{"image": "nginx"}}}, `with the values of target "a": chart "operator" does not use the image`},
		{"a file says a thing twice", map[string]protocol.TargetValues{"a": {ValuesFiles: []string{"twice.yaml"}}}, `values of target "a": twice.yaml: yaml: unmarshal errors:` + "\n" + `  line 2: mapping key "a" already defined`},
		{"a file is missing", map[string]protocol.TargetValues{"a": {ValuesFiles: []string{"none.yaml"}}}, "none.yaml is neither in the chart's folder"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "chart"), maps.Clone(files))
			spec := app(root, protocol.ChartImage{Value: "image"})
			spec.Targets = test.targets
			_, err := Pack(t.Context(), spec, image())
			if test.want != "" {
				refused(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// What the defaults switch off, or only a cluster can answer, is no reason to
// refuse a chart: a deploy renders it again.
func TestOnlyWhatADeployRendersCounts(t *testing.T) {
	const file = "templates/deployment.yaml"
	body := strings.Replace(pod, "%NAME%", "a", 1)
	on := map[string]protocol.TargetValues{"staging": {Values: map[string]any{"enabled": true}}, "production": {Values: map[string]any{"enabled": true}}}
	lookups := `{{ if not (lookup "v1" "Secret" .Release.Namespace "db") }}{{ fail "Secret db does not exist" }}{{ end }}` + "\n"
	list := `{{ if not (lookup "v1" "Node" "" "").items }}{{ fail "no nodes" }}{{ end }}` + "\n"
	for name, test := range map[string]struct {
		template string
		targets  map[string]protocol.TargetValues
		want     string
		warnings int
	}{
		"off by default":              {"{{ if .Values.enabled }}\n" + body + "{{ end }}\n", on, "", 0},
		"off without targets":         {"{{ if .Values.enabled }}\n" + body + "{{ end }}\n", nil, "no container takes localhost:5001/", 0},
		"off for one target":          {"{{ if .Values.enabled }}\n" + body + "{{ end }}\n", map[string]protocol.TargetValues{"staging": {}}, `target "staging": chart "operator" does not use the image`, 0},
		"lookup, then fail":           {lookups + body, nil, "", 1},
		"lookup for every target":     {lookups + body, on, "", 2},
		"lookup of a list, then fail": {list + body, nil, "", 1},
		"lookup alone":                {`{{ $x := lookup "v1" "Secret" "a" "b" }}` + "\n" + body, nil, "", 0},
		"in a custom resource":        {"apiVersion: example.com/v1\nkind: App\nmetadata: {name: a}\nspec: {web: [{image: \"{{ .Values.image }}\"}]}\n", nil, "", 0},
		"only in a hook":              {strings.Replace(body, "{name: a}", "{name: a, annotations: {helm.sh/hook: pre-install}}", 1), nil, "there are no containers", 0},
		"fail alone":                  {`{{ fail "never" }}` + "\n" + body, nil, "never", 0},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "chart"), changed(file, test.template))
			spec := app(root, protocol.ChartImage{Value: "image"})
			spec.Targets = test.targets
			packed, err := Pack(t.Context(), spec, image())
			if test.want != "" {
				refused(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
			if len(packed.Warnings) != test.warnings {
				t.Errorf("warnings %q, want %d", packed.Warnings, test.warnings)
			}
		})
	}
}

// A machine that packs has no key: what is encrypted has stand-ins.
func TestEncryptedValues(t *testing.T) {
	t.Setenv("PATH", "")
	const secrets = "password: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]\nport: ENC[AES256_GCM,data:x,iv:x,tag:x,type:int]\nsops: {mac: x, lastmodified: x}\n"
	for schema, warned := range map[string]bool{
		`{"properties": {"password": {"type": "string"}, "port": {"type": "integer"}}}`: false,
		`{"properties": {"password": {"pattern": "^[0-9]+$"}}}`:                         true,
	} {
		root := t.TempDir()
		write(t, filepath.Join(root, "chart"), changed("values.schema.json", schema))
		write(t, root, map[string]string{"secrets.yaml": secrets})
		spec := app(root, protocol.ChartImage{Value: "image"})
		spec.Targets = map[string]protocol.TargetValues{"staging": {ValuesFiles: []string{"secrets.yaml"}}}
		packed, err := Pack(t.Context(), spec, image())
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(packed.Warnings, "\n"); warned != (text != "") || warned && !strings.Contains(text, "secrets.yaml is encrypted") {
			t.Errorf("%s: warnings %q", schema, text)
		}
	}
}
