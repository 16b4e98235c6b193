package difference

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	if text == "" {
		return nil
	}
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

func write(t *testing.T, colour bool, before, after string) (string, int) {
	t.Helper()
	o := Object{Kind: "X", Namespace: "n", Name: "x", Before: object(t, before), After: object(t, after)}
	var b bytes.Buffer
	n, err := Write(&b, []Object{o}, colour)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), n
}

func TestWrite(t *testing.T) {
	const old = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, resourceVersion: '1'}\ndata: {a: '1', b: '1'}\nstatus: {x: 1}\n"
	for _, c := range []struct{ name, before, after, want string }{
		{"same", old, strings.ReplaceAll(old, "resourceVersion: '1'", "resourceVersion: '2'"), ""},
		{"same but for the status", old, strings.ReplaceAll(old, "{x: 1}", "{x: 2}"), ""},
		{"changed", old, strings.ReplaceAll(old, "b: '1'", "b: '2'"), `--- X n/x (cluster)
+++ X n/x (deploy)
@@ -1,7 +1,7 @@
 apiVersion: v1
 data:
   a: "1"
-  b: "1"
+  b: "2"
 kind: ConfigMap
 metadata:
   name: x
`},
		{"made", "", "kind: X\n", "--- /dev/null\n+++ X n/x (deploy)\n@@ -0,0 +1 @@\n+kind: X\n"},
		{"deleted", "kind: X\n", "", "--- X n/x (cluster)\n+++ /dev/null\n@@ -1 +0,0 @@\n-kind: X\n"},
		{"control characters", "", "kind: \"X\\e[31m\\u202e\"\n", "--- /dev/null\n+++ X n/x (deploy)\n@@ -0,0 +1 @@\n+kind: \"X\\e[31m\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, n := write(t, false, c.before, c.after)
			if got != c.want || (n == 1) != (c.want != "") {
				t.Errorf("%d changed, got:\n%s\nwant:\n%s", n, got, c.want)
			}
			if strings.ContainsAny(got, "\x1b\u202e") {
				t.Error("control characters are left")
			}
		})
	}
	if got, _ := write(t, true, "kind: X\n", "kind: Z\n"); !strings.Contains(got, "\x1b[31m-kind: X\x1b[0m\n\x1b[32m+kind: Z\x1b[0m\n") {
		t.Errorf("no colour: %q", got)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	secret := func(data string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: x, annotations: {kubectl.kubernetes.io/last-applied-configuration: 'SECRET'}}\n" + data
	}
	for _, c := range []struct{ name, before, after, want string }{
		{"changed", secret("data: {a: SECRET1, b: SECRET}"), secret("data: {a: SECRET2, b: SECRET, c: SECRET}"), " data:\n-  a: '*** (before)'\n+  a: '*** (after)'\n   b: '***'\n+  c: '***'\n"},
		{"made", "", secret("stringData: {a: SECRET}"), "+stringData:\n+  a: '***'\n"},
		{"deleted", secret("data: {a: SECRET}"), "", "-data:\n-  a: '***'\n"},
		{"no map", secret("data: SECRET1"), secret("data: SECRET2\ntype: z\n"), "+type: z\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, n := write(t, false, c.before, c.after)
			if n != 1 || !strings.Contains(got, c.want) {
				t.Errorf("got:\n%s\nwant it to hold:\n%s", got, c.want)
			}
			if strings.Contains(got, "SECRET") {
				t.Errorf("a secret is shown:\n%s", got)
			}
		})
	}
}

// Not only Secrets hold secrets.
func TestWhatLooksSecretIsMasked(t *testing.T) {
	for name, c := range map[string]struct {
		object string
		shown  []string // what stays
	}{
		"values of a HelmRelease": {`
kind: HelmRelease
spec:
  values: {db: {password: SECRET, host: db.example.com}, apiKey: SECRET, secrets: {anything: SECRET}, pin: {adminPassword: 99177}, existingSecret: db-pass}
  valuesFrom: [{kind: Secret, name: db-values, valuesKey: values.yaml}]
`, []string{"db.example.com", "existingSecret: db-pass", "name: db-values"}},
		"values and parameters of an Application": {`
kind: Application
spec:
  source:
    helm:
      values: |
        image: app
        db:
          password: SECRET
          token: "SECRET with spaces"
      valuesObject: {smtp: {clientSecret: SECRET, port: 25}}
      parameters: [{name: db.password, value: SECRET}, {name: image.tag, value: v1.2}]
`, []string{"image: app", "port: 25", "v1.2"}},
		"environment": {`
kind: Deployment
spec:
  template:
    spec:
      containers:
      - name: app
        args: [--password=SECRET, --token, SECRET, --level, debug, --url=https://u:SECRET@h/]
        env:
        - {name: DB_PASSWORD, value: SECRET}
        - {name: LEVEL, value: info}
        - {name: TOKEN, valueFrom: {secretKeyRef: {name: the-token, key: token}}}
      imagePullSecrets: [{name: pull}]
      volumes: [{name: v, secret: {secretName: mounted}}]
      automountServiceAccountToken: true
`, []string{"info", "--level", "debug", "the-token", "name: pull", "secretName: mounted", "automountServiceAccountToken: true"}},
		"a ConfigMap": {`
kind: ConfigMap
metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: 'SECRET'}}
data:
  application.properties: |
    spring.datasource.password=SECRET
    spring.datasource.url=jdbc:postgresql://db/app
  config.json: '{"apiKey": "SECRET", "level": "info"}'
  redis_password: SECRET
  url: postgres://app:SECRET@db/app
  key.pem: |
    -----BEGIN RSA PRIVATE KEY-----
    SECRET
    -----END RSA PRIVATE KEY-----
`, []string{"jdbc:postgresql://db/app", "level", "postgres://app:***@db/app"}},
	} {
		t.Run(name, func(t *testing.T) {
			other := strings.ReplaceAll(strings.ReplaceAll(c.object, "SECRET", "SECRET2"), "99177", "99178")
			for _, pair := range [][2]string{{"", c.object}, {c.object, ""}, {c.object, other}} {
				got, n := write(t, false, pair[0], pair[1])
				if n != 1 || strings.Contains(got, "SECRET") || strings.Contains(got, "9917") {
					t.Errorf("%d changed, a secret is shown:\n%s", n, got)
				}
				if pair[0] != "" && pair[1] != "" {
					if !strings.Contains(got, "*** (before)") || !strings.Contains(got, "*** (after)") {
						t.Errorf("the change is not shown:\n%s", got)
					}
					continue
				}
				for _, text := range c.shown {
					if !strings.Contains(got, text) {
						t.Errorf("%q is not shown:\n%s", text, got)
					}
				}
			}
		})
	}
}

// What is known to be secret is masked wherever it stands, and so is what it replaces.
func TestWhatIsKnownIsMasked(t *testing.T) {
	const before = "kind: ConfigMap\nmetadata: {name: x}\ndata: {host: old-host-value, level: info, url: 'http://old-host-value/'}\n"
	o := Object{Kind: "ConfigMap", Name: "x", Before: object(t, before), After: object(t, strings.ReplaceAll(before, "old-host", "new-host")),
		Mask: func(text string) string { return strings.ReplaceAll(text, "new-host-value", "***") }}
	var b bytes.Buffer
	n, err := Write(&b, []Object{o}, false)
	if err != nil || n != 1 || strings.Contains(b.String(), "host-value") {
		t.Errorf("%d changed, %v, a secret is shown:\n%s", n, err, b.String())
	}
	for _, line := range []string{"-  host: '*** (before)'", "+  host: '*** (after)'", "   level: info"} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("%q is missing in:\n%s", line, b.String())
		}
	}
}
