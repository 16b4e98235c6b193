package localcluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for context, want := range map[string]Cluster{
		"k3d-dev": {K3d, "dev"}, "kind-kind": {Kind, "kind"}, "kind-a-b": {Kind, "a-b"},
		"kind-": {}, "kind": {}, "prod": {}, "": {}, "my-kind-x": {},
	} {
		if got, ok := Of(context); got != want || ok != (want.Tool != "") {
			t.Errorf("%q: got %+v, %t", context, got, ok)
		}
	}
}

func TestCurrentContext(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := write("none", "apiVersion: v1\nkind: Config\n")
	kind := write("kind", "current-context: kind-dev\nusers: [{name: a, user: {token: s3cr3t}}]\n")
	k3d := write("home/.kube/config", "current-context: k3d-home\n")
	bad := write("bad", "token: s3cr3t: x\n\t")
	tests := []struct{ kubeconfig, want, err string }{
		{"", "k3d-home", ""},
		{kind, "kind-dev", ""},
		{none + ":" + kind + ":" + k3d, "kind-dev", ""},
		{dir + "/missing", "", ""},
		{none, "", ""},
		{os.DevNull, "", ""},
		{bad, "", "is not YAML"},
	}
	for _, test := range tests {
		got, err := CurrentContext(func(name string) string {
			return map[string]string{"KUBECONFIG": test.kubeconfig, "HOME": dir + "/home"}[name]
		})
		if got != test.want || (err == nil) != (test.err == "") || err != nil && (!strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "s3cr3t")) {
			t.Errorf("%s: got %q, %v; want %q, %q", test.kubeconfig, got, err, test.want, test.err)
		}
	}
}
