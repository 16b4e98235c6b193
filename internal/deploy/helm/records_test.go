package helm

import (
	"bytes"
	"encoding/json"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// A record as Helm 4 writes it has a field that Helm 3 does not know, and keeps it
// when the revision is superseded. The helm binary of the tests is Helm 3.
func TestRecordsKeepWhatHelm4Wrote(t *testing.T) {
	secrets := fake.NewClientset().CoreV1().Secrets("fleet")
	made := &release.Release{
		Name: "app", Namespace: "fleet", Version: 1, Info: &release.Info{Status: release.StatusDeployed},
		Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "app", Version: "1.0.0"}},
	}
	if err := storage.Init(driver.NewSecrets(secrets)).Create(made); err != nil {
		t.Fatal(err)
	}
	const name = "sh.helm.release.v1.app.v1"
	stored, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fields, err := unpacked(stored.Data[recordKey])
	if err != nil {
		t.Fatal(err)
	}
	fields["apply_method"] = json.RawMessage(`"ssa"`)
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	if stored.Data[recordKey], err = repacked(text); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Update(t.Context(), stored, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}

	releases := storage.Init(driver.NewSecrets(&records{SecretInterface: secrets}))
	last, err := releases.Last("app")
	if err != nil {
		t.Fatal(err)
	}
	last.Info.Status = release.StatusSuperseded
	if err := releases.Update(last); err != nil {
		t.Fatal(err)
	}
	if stored, err = secrets.Get(t.Context(), name, metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	fields, err = unpacked(stored.Data[recordKey])
	if err != nil || string(fields["apply_method"]) != `"ssa"` || !bytes.Contains(fields["info"], []byte(`"superseded"`)) {
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
