package helm

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// helm4Record is a record as Helm 4.3 writes it, of its type Release. The helm binary of
// the tests is Helm 3.
const helm4Record = `{"name":"app","info":{"first_deployed":"2026-05-01T14:00:00.123456789+02:00","last_deployed":"2026-05-01T14:00:00.123456789+02:00",` +
	`"description":"Rollback to 1","status":"deployed","rollback_revision":1},"chart":{"metadata":{"name":"app","version":"1.0.0","apiVersion":"v2"},"lock":null,` +
	`"templates":[{"name":"templates/cm.yaml","data":"eA==","modtime":"2026-05-01T14:00:00.123456789+02:00"}],"values":null,"schema":null,"schemamodtime":"0001-01-01T00:00:00Z","files":null},` +
	`"manifest":"---\n","hooks":[{"name":"h","kind":"Job","path":"p","events":["pre-install"],"last_run":{"phase":""}}],"version":2,"namespace":"fleet","apply_method":"ssa"}`

// Helm 3 reads a record of Helm 4. What it does not know of one stays when the revision is
// written again.
func TestRecordsKeepWhatHelm4Wrote(t *testing.T) {
	packed, err := repacked([]byte(helm4Record))
	if err != nil {
		t.Fatal(err)
	}
	const name = "sh.helm.release.v1.app.v2"
	secrets := fake.NewClientset(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "fleet", Labels: map[string]string{"owner": "helm", "name": "app", "status": "deployed", "version": "2"}},
		Type:       "helm.sh/release.v1", Data: map[string][]byte{recordKey: packed},
	}).CoreV1().Secrets("fleet")
	releases := storage.Init(driver.NewSecrets(&records{SecretInterface: secrets}))
	last, err := releases.Last("app")
	if err != nil || isOurs(last) || last.Info.LastDeployed.UTC().Format(time.RFC3339) != "2026-05-01T12:00:00Z" || len(last.Hooks) != 1 {
		t.Fatalf("%+v, %v", last, err)
	}
	last.Info.Status = release.StatusSuperseded
	if err := releases.Update(last); err != nil {
		t.Fatal(err)
	}
	stored, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fields, err := unpacked(stored.Data[recordKey])
	if err != nil || string(fields["apply_method"]) != `"ssa"` || !bytes.Contains(fields["info"], []byte(`"superseded"`)) || !bytes.Contains(fields["info"], []byte(`"rollback_revision":1`)) {
		t.Errorf("apply_method %s, info %s, %v", fields["apply_method"], fields["info"], err)
	}
}

func FuzzUnpacked(f *testing.F) {
	packed, err := repacked([]byte(`{"name":"app","apply_method":"ssa"}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add([]byte("eyJuYW1lIjoiYXBwIn0="))
	f.Add([]byte("H4sIAAAA"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fields, err := unpacked(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		again, err := repacked(text)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := unpacked(again); err != nil || len(back) != len(fields) {
			t.Errorf("%v, before %v: %v", back, fields, err)
		}
	})
}
