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
