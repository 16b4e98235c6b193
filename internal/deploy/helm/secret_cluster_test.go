package helm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Values of an encrypted file reach the cluster, and nothing that is shown.
func TestEncryptedValues(t *testing.T) {
	s := clustertest.NewSOPS(t)
	w := newWorld(t) // in parallel with others, which have no use for these variables
	before := os.Getenv("PATH")
	os.Setenv("PATH", filepath.Dir(s.Program)+string(filepath.ListSeparator)+before)
	os.Setenv("SOPS_AGE_KEY_FILE", s.KeyFile)
	t.Cleanup(func() { os.Setenv("PATH", before); os.Unsetenv("SOPS_AGE_KEY_FILE") })

	w.templates["secret.yaml"] = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: {{ .Values.password | quote }}}\n" +
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: db}\ndata: {address: {{ .Values.address | quote }}}\n"
	spec := w.spec()
	spec.ProjectRoot = t.TempDir()
	spec.Targets["test"] = protocol.TargetValues{Values: w.values, ValuesFiles: []string{"secrets.yaml"}}
	secrets := func(password, address string) {
		t.Helper()
		text := s.Encrypt(t, "yaml", fmt.Sprintf("password: %s\naddress: %s\n", password, address))
		if err := os.WriteFile(filepath.Join(spec.ProjectRoot, "secrets.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var shown bytes.Buffer
	diff := func() {
		t.Helper()
		objects, err := w.operator().Diff(t.Context(), spec, "test", w.image, w.pack())
		if err == nil {
			_, err = difference.Write(&shown, objects, false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	deploy := func(want protocol.Outcome) {
		t.Helper()
		result, err := w.adapter().Deploy(t.Context(), spec, "test", w.image, w.pack())
		if err != nil || result.Outcome != want {
			t.Fatalf("%s, %v, want %s", result.Outcome, err, want)
		}
		fmt.Fprintf(&shown, "%+v\n", result)
	}
	secrets("plaintext-password-1", "plaintext-address-1")
	diff()
	deploy(protocol.OutcomeInstalled)
	deploy(protocol.OutcomeUnchanged)
	secrets("plaintext-password-2", "plaintext-address-2")
	diff()
	deploy(protocol.OutcomeUpgraded)
	secret, err := w.cluster.Client.CoreV1().Secrets(w.namespace).Get(t.Context(), "db", metav1.GetOptions{})
	if err != nil || string(secret.Data["password"]) != "plaintext-password-2" {
		t.Errorf("password %q, %v", secret.Data["password"], err)
	}

	w.replaceTemplate("replicas: {{ .Values.replicas }}", `replicas: {{ fail (printf "no %s" .Values.password) }}`)
	_, err = w.adapter().Deploy(t.Context(), spec, "test", w.image, w.pack())
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "no ***") {
		t.Errorf("error %v, want invalid input with a mask", err)
	}
	fmt.Fprintln(&shown, err, protocol.HintOf(err))
	fmt.Fprintln(&shown, w.events)
	if strings.Contains(shown.String(), "plaintext") {
		t.Errorf("a secret is shown:\n%s", shown.String())
	}
	if !strings.Contains(shown.String(), "address: '*** (after)'") {
		t.Errorf("the change is not shown:\n%s", shown.String())
	}
}
