package flux

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
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// secrets are the values in the Secrets of the app, by name; each has to be owned by the
// HelmRelease.
func (w *world) secrets() map[string]string {
	w.T.Helper()
	list, err := w.Cluster.Client.CoreV1().Secrets(w.Namespace).List(w.T.Context(), metav1.ListOptions{})
	if err != nil {
		w.T.Fatal(err)
	}
	found := map[string]string{}
	for _, secret := range list.Items {
		if !strings.HasPrefix(secret.Name, deploytest.AppName+"-values-") || secret.DeletionTimestamp != nil {
			continue
		}
		found[secret.Name] = string(secret.Data[valuesKey])
		if owners := secret.OwnerReferences; len(owners) != 1 || owners[0].UID != w.get(releases).GetUID() {
			w.T.Errorf("owners of Secret %s: %v", secret.Name, owners)
		}
	}
	return found
}

// Values of an encrypted file go to Flux by a Secret, also in a rollback, and into
// nothing that is shown.
func TestEncryptedValues(t *testing.T) {
	s := clustertest.NewSOPS(t)
	w := newWorld(t) // in parallel with others, which have no use for these variables
	before := os.Getenv("PATH")
	os.Setenv("PATH", filepath.Dir(s.Program)+string(filepath.ListSeparator)+before)
	os.Setenv("SOPS_AGE_KEY_FILE", s.KeyFile)
	t.Cleanup(func() { os.Setenv("PATH", before); os.Unsetenv("SOPS_AGE_KEY_FILE") })

	w.Templates["db.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: db}\ndata: {password: {{ .Values.password | quote }}}\n"
	spec := w.Spec()
	spec.ProjectRoot = t.TempDir()
	var shown bytes.Buffer
	use := func(password string) {
		t.Helper()
		text := s.Encrypt(t, "yaml", "password: "+password+"\n")
		if err := os.WriteFile(filepath.Join(spec.ProjectRoot, "secrets.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		spec.Targets[deploytest.Target] = protocol.TargetValues{Values: w.Values, ValuesFiles: []string{"secrets.yaml"}}
		objects, err := w.Adapter().(*adapter).Diff(t.Context(), spec, deploytest.Target, w.Image, w.Chart())
		if err == nil {
			_, err = difference.Write(&shown, objects, false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	runs := func(want protocol.Outcome, password string, result protocol.DeployResult, err error) {
		t.Helper()
		if err != nil || result.Outcome != want {
			t.Fatalf("%s, %v, want %s", result.Outcome, err, want)
		}
		config, err := w.Cluster.Client.CoreV1().ConfigMaps(w.Namespace).Get(t.Context(), "db", metav1.GetOptions{})
		if err != nil || config.Data["password"] != password {
			t.Errorf("password %q, %v", config.Data["password"], err)
		}
		if secrets := w.secrets(); len(secrets) != 1 || !strings.Contains(fmt.Sprint(secrets), password) {
			t.Errorf("Secrets %v", secrets)
		}
		fmt.Fprintf(&shown, "%+v\n%v\n", result, w.get(releases).Object["spec"])
	}
	deploy := func(want protocol.Outcome, password string) {
		t.Helper()
		result, err := w.Adapter().Deploy(t.Context(), spec, deploytest.Target, w.Image, w.Chart())
		runs(want, password, result, err)
	}
	use("plaintext-1")
	deploy(protocol.OutcomeInstalled, "plaintext-1")
	deploy(protocol.OutcomeUnchanged, "plaintext-1")
	use("plaintext-2")
	deploy(protocol.OutcomeUpgraded, "plaintext-2")
	back, err := w.Adapter().(*adapter).Rollback(t.Context(), spec, deploytest.Target, "")
	runs(protocol.OutcomeRolledBack, "plaintext-1", back, err)
	deploy(protocol.OutcomeUpgraded, "plaintext-2")

	w.Replace("replicas: {{ .Values.replicas }}", `replicas: {{ fail (printf "no %s" .Values.password) }}`)
	_, err = w.Adapter().Deploy(t.Context(), spec, deploytest.Target, w.Image, w.Chart())
	if err == nil || !strings.Contains(err.Error(), "no ***") {
		t.Errorf("error %v, want one with a mask", err)
	}
	fmt.Fprintln(&shown, err, protocol.HintOf(err))
	removed, err := w.Remove(t.Context())
	if left := w.secrets(); err != nil || len(left) > 0 {
		t.Errorf("after the uninstall: %v, %v", left, err)
	}
	fmt.Fprintf(&shown, "%+v\n", removed)
	if strings.Contains(shown.String(), "plaintext") || w.Told("", "plaintext") {
		t.Errorf("a secret is shown:\n%s", shown.String())
	}
	if !strings.Contains(shown.String(), "password: '*** (after)'") {
		t.Errorf("the change is not shown:\n%s", shown.String())
	}
}
